//! `demo`: ends by itself, keeps its promises and leaves nothing.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::scene::{Running, bare, until};

#[test]
fn it_ends_well_by_itself() {
    let begin = Instant::now();
    let tour = Running::start(&mut bare(&["demo"]));
    let pid = tour.pid();
    let text = tour.end().code(0).quietly().text();
    assert!(begin.elapsed() < Duration::from_secs(15), "it took {:?}", begin.elapsed());
    for part in ["SIGKILL", "never collected: 4", "promises seen kept", "p50"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(leavings("demo", pid), [""; 0]);
}

#[test]
fn it_can_be_interrupted() {
    let mut tour = Running::start(&mut bare(&["demo"]));
    while !tour.line().starts_with("2. ") {}
    tour.signal(Signal::INT);
    let pid = tour.pid();
    assert_eq!(tour.end().code(130).complaint(), "");
    assert_eq!(leavings("demo", pid), [""; 0]);
    until("its other processes are gone", || {
        crate::bench::processes_in(&format!("tubepost-demo.{}.{pid}.", uid())) == 0
    });
}

/// Temporary domains that a process left.
pub fn leavings(purpose: &str, pid: u32) -> Vec<String> {
    let prefix = format!("tubepost-{purpose}.{}.{pid}.", uid());
    let entries = std::fs::read_dir("/dev/shm").expect("/dev/shm").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
