//! A command's standard input: the whole message, before the command starts.
//!
//! It lies in memory as a file without a name, sealed. A pipe would have to be written while the command reads: if
//! this process is killed meanwhile the command sees its end, and takes a part of the message, or nothing, for all of it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

const NAME: &CStr = c"tubepost message";

/// The message, to be read from its beginning; nobody can change it.
pub fn of(message: &[u8]) -> io::Result<File> {
    let mut file = fresh()?;
    file.write_all(message)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    // One end that only reads, as a pipe's. Without /proc it is the same file, which can't be written to either.
    match File::open(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        Ok(end) => Ok(end),
        Err(_) => file.rewind().map(|()| file),
    }
}

/// Closed in what is executed, but where it is standard input. It is not to be executed itself: some systems insist
/// that this is said, older ones don't know the word.
fn fresh() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        made => made,
    };
    Ok(made?.into())
}
