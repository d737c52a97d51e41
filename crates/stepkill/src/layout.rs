//! Looking at a mailbox's file as docs/format.md describes it, beside the library: rows and chunks that are
//! somebody's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE: u64 = 4096;

/// What is in use in a mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Rows that are not clean, and the processes that they name.
    pub rows: Vec<(u64, u64)>,
    /// Chunks that are not free: class, index, use.
    pub chunks: Vec<(u64, u64, u64)>,
}

/// The id of the mailbox, as the library spells it.
pub fn id(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut words = [[0; 8]; 2];
    file.read_exact_at(&mut words[0], 0x18).ok()?;
    file.read_exact_at(&mut words[1], 0x20).ok()?;
    let [one, two] = words.map(u64::from_ne_bytes);
    Some(format!("{one:016x}{two:016x}"))
}

/// Reads it all.
pub fn used(path: &Path) -> Result<Used, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let word = |at: u64| {
        let mut bytes = [0; 8];
        // What is beyond the end or was never written is zero.
        let _ = file.read_exact_at(&mut bytes, at);
        u64::from_le_bytes(bytes)
    };
    let (capacity, longest, align, flags, format) =
        (word(0x28), word(0x30), word(0x38), word(0x40), word(0x48));
    let ceiling = word(0x58);
    let variable = flags & 1 != 0;
    let in_line = if longest <= 4096 { longest } else { 240 * u64::from(variable) };
    let payload = if !variable && longest <= 4096 { align.max(8) } else { 16 };
    let stride = (payload + in_line).next_multiple_of(64);
    let claims = (0x400 + format).next_multiple_of(64);
    let takes = (claims + 8 * capacity).next_multiple_of(64);
    let slots = (takes + 8 * capacity).next_multiple_of(64);
    let rows = (slots + capacity * stride).next_multiple_of(PAGE);
    let mut used = Used::default();
    let not_clean = (1..word(0x108).max(2)).filter(|row| word(rows + 128 * row) & 3 != 0);
    used.rows.extend(not_clean.map(|row| (row, word(rows + 128 * row + 16))));
    let mut entries = (rows + 65_536 * 128).next_multiple_of(PAGE);
    for class in 0..32 {
        let size = 64 << class;
        let spare = ((1 << 26) / size).clamp(64, 4096);
        let number = (capacity + spare).min(2 * ceiling / size + 1);
        let ever = (word(0x180 + class / 2 * 8) >> (32 * (class % 2))) & 0xffff_ffff;
        for index in 0..ever.min(number) {
            let kind = word(entries + 128 * index) >> 16 & 7;
            if kind != 0 {
                used.chunks.push((class, index, kind));
            }
        }
        entries = (entries + 128 * number).next_multiple_of(PAGE);
        if size >= longest {
            break;
        }
    }
    Ok(used)
}
