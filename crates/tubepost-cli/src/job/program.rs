//! Whether a command can be run at all, asked before anything depends on it: where a shell would look, and what it
//! would find there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::cli::CommandLine;
use crate::exit::Failure;

/// Where commands are if there is no PATH.
const USUAL: &str = "/bin:/usr/bin";

/// An error: there is no such command, or it can't be executed.
pub fn check(command: CommandLine<'_>) -> Result<(), Failure> {
    let Some(program) = command.0.first() else { return Ok(()) };
    let why = if program.as_bytes().contains(&b'/') {
        match executable(Path::new(program)) {
            Ok(()) => return Ok(()),
            Err(why) => why.to_owned(),
        }
    } else {
        match look_up(program) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        }
    };
    Err(Failure::failed(format!("{command} cannot be run: {why}")))
}

fn look_up(program: &OsStr) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL.into());
    let mut there = None;
    for directory in std::env::split_paths(&path) {
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        let file = directory.join(program);
        match executable(&file) {
            Ok(()) => return Ok(()),
            Err(why) if file.is_file() => there = there.or(Some(format!("{} is {why}", file.display()))),
            Err(_) => {}
        }
    }
    Err(there.unwrap_or_else(|| "nothing on the PATH is called so; is it installed?".into()))
}

fn executable(file: &Path) -> Result<(), &'static str> {
    match file.metadata() {
        Err(_) => Err("there is no such file, or no permission to look"),
        Ok(found) if found.is_dir() => Err("a directory"),
        Ok(found) if !found.is_file() => Err("no regular file"),
        Ok(_) => access(file, Access::EXEC_OK).map_err(|_| "not executable for this user; see chmod"),
    }
}
