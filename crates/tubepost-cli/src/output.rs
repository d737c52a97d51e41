//! Standard output: what was asked for and nothing else, in pieces as large as they come.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;

use crate::exit::Failure;

/// Standard output without the standard library's flush at every newline.
pub fn buffered() -> Result<BufWriter<File>, Failure> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
    Ok(BufWriter::with_capacity(1 << 16, stdout.into()))
}

/// Prints all of it at once.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes.as_ref())?;
    Ok(out.flush()?)
}

/// Prints it as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    text.push('\n');
    print(text)
}
