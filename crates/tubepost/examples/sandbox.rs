//! A host and a plugin that is not to do anything but compute: it is started in a sandbox, without a file system, and has nothing but the end
//! of a pair that it was handed. It is given work, then it crashes; the host is told so at once.
//!
//! `cargo run --release --example sandbox` (as root it also goes into an empty directory)

use std::process::Command;
use tubepost::{Hand, Link, Message};

/// What the host asks: the sum of the squares up to a number.
#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Work {
    up_to: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, empty] = &arguments[..] {
        return plugin(empty);
    }
    let empty = format!("/dev/shm/tubepost-example-empty-{}", std::process::id());
    std::fs::create_dir(&empty)?;
    let (plugin, endpoint) = tubepost::pair::<Work, u64>()?;
    let mut running = Command::new(std::env::current_exe()?)
        .arg(&empty)
        .env_clear() // what it has to know of its end is added below
        .hand(endpoint)?
        .spawn()?;
    for up_to in [10, 1000, 1_000_000] {
        plugin.send(Work { up_to })?;
        println!("the squares up to {up_to} are {} in all", plugin.recv()?);
    }
    println!("that was process {}", plugin.peer().pid);
    plugin.send(Work { up_to: u64::MAX })?; // more than it can bear
    match plugin.recv() {
        Err(error) if error.is_closed() => println!("it is gone ({})", running.wait()?),
        other => println!("it says {other:?}"),
    }
    std::fs::remove_dir(&empty)?;
    Ok(())
}

/// The other process.
fn plugin(empty: &str) -> Result<(), Box<dyn std::error::Error>> {
    leave_files_behind(empty);
    let host: Link<u64, Work> = tubepost::inherited()?;
    while let Ok(Work { up_to }) = host.recv() {
        if up_to > u64::from(u32::MAX) {
            std::process::abort();
        }
        host.send((1..=up_to).map(|number| number * number).sum())?;
    }
    Ok(())
}

/// As far as we may. (A real sandbox does more: namespaces, another user, a filter for system calls. All of that may be done before
/// the end is taken.)
fn leave_files_behind(empty: &str) {
    match std::os::unix::fs::chroot(empty).and_then(|()| std::env::set_current_dir("/")) {
        Ok(()) => println!("plugin: no files here"),
        Err(error) => println!("plugin: with files, for only root may leave them: {error}"),
    }
}
