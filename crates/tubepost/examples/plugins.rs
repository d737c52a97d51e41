//! A host and its plugins, each a process with a name. They tell the host what they do, it receives from all of them in one
//! place; one crashes, the host is told so at once, and starts it again.
//!
//! `cargo run --release --example plugins`

use std::collections::HashMap;
use std::process::{Child, Command};
use std::time::Duration;
use tubepost::{Domain, End, Link, Monitor, Process};

const PLUGINS: [&str; 3] = ["equaliser", "reverb", "crasher"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, name] = &arguments[..] {
        return plugin(&Domain::open(domain)?, name);
    }
    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-plugins-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let host = Process::options().domain(&domain).join("host")?;
    let inbox = host.inbox::<str>()?;
    let start = |name: &str| Command::new(&arguments[0]).args([&path, name]).spawn();
    let mut running: HashMap<&str, (Child, Monitor)> = HashMap::new();
    for name in PLUGINS {
        let child = start(name)?;
        // It is there when the link with it is.
        let link = Link::<str>::options().connect(&host, name, Duration::from_secs(5))?;
        link.send("begin")?;
        running.insert(name, (child, host.monitor(name)?));
    }

    let mut ready = 0;
    while ready < PLUGINS.len() {
        if let Ok(envelope) = inbox.recv_timeout(Duration::from_millis(10)) {
            println!("{} says: {}", envelope.sender.name, envelope.message);
            ready += usize::from(envelope.message == "ready");
        }
        for (name, (child, monitor)) in &mut running {
            if monitor.wait_timeout(Duration::ZERO)? == Some(End::Died) {
                println!("{name} died ({}); it is started again", child.wait()?);
                *child = start(name)?;
                Link::<str>::options()
                    .connect(&host, name, Duration::from_secs(5))?
                    .send("begin, carefully")?;
                *monitor = host.monitor(name)?;
            }
        }
    }
    for (name, (child, monitor)) in &mut running {
        host.link::<str>(name)?.send("end")?;
        assert_eq!(monitor.wait()?, Some(End::Left), "{name} ends as it should");
        child.wait()?;
    }
    println!("all have ended");
    drop(inbox);
    host.leave();
    std::fs::remove_dir(&path)?;
    Ok(())
}

/// The other processes.
fn plugin(domain: &Domain, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let me = Process::options().domain(domain).join(name)?;
    let host = Link::<str>::options().connect(&me, "host", Duration::from_secs(5))?;
    loop {
        match &*host.recv()? {
            "begin" if name == "crasher" => std::process::abort(),
            "end" => return Ok(()),
            _ => host.send("ready")?,
        }
    }
}
