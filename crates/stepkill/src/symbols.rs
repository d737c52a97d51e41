//! Which function an address lies in, read from the program's own table of symbols.

use std::path::Path;

/// What is mapped where in a process.
pub fn maps(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default()
}

/// Module, offset and function, as far as they can be known from what is mapped where.
pub fn name(maps: &str, address: u64) -> String {
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some((from, to)) = fields.first().and_then(|range| range.split_once('-')) else { continue };
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
        if !(hex(from)..hex(to)).contains(&address) {
            continue;
        }
        let path = fields.get(5).copied().unwrap_or("nameless memory");
        // Sections lie as far from the beginning in memory as in the table, whatever their place in the file.
        let base = maps.lines().find(|line| line.ends_with(path)).and_then(|line| line.split_once('-'));
        let offset = address - base.map_or(0, |(base, _)| hex(base));
        let function = function(Path::new(path), offset).unwrap_or_default();
        let module = path.rsplit('/').next().unwrap_or(path);
        return format!("{module}+{offset:#x} {function}");
    }
    format!("{address:#x}")
}

/// The function of an ELF file that begins at or before this offset and ends after it.
fn function(path: &Path, offset: u64) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let number = |at: usize, size: usize| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes.get(at..at + size)?);
        Some(u64::from_le_bytes(word))
    };
    let sections = number(0x28, 8)? as usize;
    let count = number(0x3c, 2)? as usize;
    let section = |index: usize| sections + 64 * index;
    let table = (0..count).map(section).find(|at| number(at + 4, 4) == Some(2))?;
    let (from, size, strings) =
        (number(table + 24, 8)? as usize, number(table + 32, 8)? as usize, number(table + 40, 4)? as usize);
    let names = number(section(strings) + 24, 8)? as usize;
    let symbol = (from..from + size).step_by(24).find(|at| {
        let (begin, length) = (number(at + 8, 8).unwrap_or(0), number(at + 16, 8).unwrap_or(0));
        (begin..begin + length).contains(&offset)
    })?;
    let name = bytes.get(names + number(symbol, 4)? as usize..)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(format!("{:#}", rustc_demangle::demangle(&String::from_utf8_lossy(name))))
}
