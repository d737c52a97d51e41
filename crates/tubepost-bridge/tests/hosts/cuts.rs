//! Hosts in network namespaces of their own, with a cable between them that is pulled and put back.

use crate::killed::{A_WHILE, balance};
use crate::stage::{Configured, Host, PATIENCE, config, eventually, skip};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tubepost::{Mailbox, Sender};

static CABLES: AtomicU32 = AtomicU32::new(0);

/// Namespaces, and a cable from the first one to each other.
pub struct Cables {
    namespaces: Vec<String>,
    number: u32,
}

fn ip(args: &str) -> Result<(), String> {
    let done = Command::new("ip").args(args.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { Ok(()) } else { Err(format!("ip {args}: {said}")) }
}

impl Cables {
    /// So many namespaces.
    pub fn new(hosts: usize) -> Result<Cables, String> {
        let (pid, number) = (std::process::id(), CABLES.fetch_add(1, Relaxed));
        let namespaces = (0..hosts).map(|end| format!("tp{pid}-{number}-{end}")).collect();
        let cables = Cables { namespaces, number };
        for namespace in &cables.namespaces {
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        let first = &cables.namespaces[0];
        for (at, namespace) in cables.namespaces.iter().enumerate().skip(1) {
            ip(&format!("link add cable{at} netns {first} type veth peer name cable{at} netns {namespace}"))?;
            let net = cables.net(at);
            for (end, namespace) in [first, namespace].into_iter().enumerate() {
                ip(&format!("-n {namespace} addr add {net}.{}/24 dev cable{at}", end + 1))?;
                ip(&format!("-n {namespace} link set cable{at} up"))?;
            }
        }
        Ok(cables)
    }

    fn net(&self, at: usize) -> String {
        format!("10.{}.{}", 70 + std::process::id() % 100, self.number as usize * 8 + at)
    }

    pub fn namespace(&self, at: usize) -> &str {
        &self.namespaces[at]
    }

    /// What the first one is called by another.
    pub fn address(&self, by: usize) -> String {
        format!("{}.1", self.net(by))
    }

    /// The cable of this one.
    pub fn plug(&self, at: usize, there: bool) {
        let state = if there { "up" } else { "down" };
        ip(&format!("-n {} link set cable{at} {state}", self.namespaces[0])).expect("it could be made");
    }

    /// Two hosts, whose links have this lease.
    fn hosts(&self, lease: Duration) -> (Host, Host, Configured) {
        let (at, config) = (format!("tcp/{}:7447", self.address(1)), config(lease));
        let (a, b) = (Some(self.namespace(0)), Some(self.namespace(1)));
        let there = Host::within(a, &["--zenoh-config", config.path(), "--listen", &at, "--export", "*"]);
        let here = Host::within(b, &["--zenoh-config", config.path(), "--connect", &at, "--import", "*"]);
        (there, here, config)
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _ = ip(&format!("netns del {namespace}"));
        }
    }
}

/// Nothing, where no namespaces can be had: that is told.
fn cable(test: &str) -> Option<Cables> {
    Cables::new(2).inspect_err(|why| skip(test, why)).ok()
}

#[test]
fn a_short_cut_loses_and_doubles_nothing() {
    let Some(cable) = cable("a_short_cut_loses_and_doubles_nothing") else { return };
    let (mut there, mut here, _config) = cable.hosts(Duration::from_secs(10));
    balance(&mut there, &mut here, A_WHILE, |round, _, _| {
        // At no particular moment, for no particular time: no condition is waited for.
        std::thread::sleep(Duration::from_millis(200 + round * 7919 % 300));
        cable.plug(1, false);
        std::thread::sleep(Duration::from_millis(round * 613 % 700));
        cable.plug(1, true);
    });
}

#[test]
fn a_host_that_is_silent_counts_as_gone_after_the_lease_and_comes_back_by_itself() {
    let Some(cable) = cable("a_host_that_is_silent_counts_as_gone") else { return };
    let lease = Duration::from_secs(1);
    let (there, here, _config) = cable.hosts(lease);
    let inbox = Mailbox::<u64>::options().domain(&there.domain).own("box").expect("a free name");
    here.until_there("box");
    let open = || Sender::<u64>::options().domain(&here.domain).open("box");
    let out = open().expect("it is there");
    out.send(1).expect("there is room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(1));

    cable.plug(1, false);
    let begin = Instant::now();
    out.send(2).expect("nobody knows so far");
    assert_eq!(out.closed().map(|closed| closed.uncollected), Ok(1));
    let late = begin.elapsed();
    assert!(late > lease / 2 && late < 3 * lease, "told after {late:?}");
    assert!(here.domain.stat("box").is_err());

    cable.plug(1, true);
    eventually("it is there again", || open().is_ok_and(|out| out.send(3).is_ok()));
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(3));
}

/// Cuts and kills, whatever comes: a few seconds, or as many minutes as `TUBEPOST_BRIDGE_MINUTES` says.
#[test]
fn cuts_and_kills_at_random_lose_and_double_nothing() {
    let Some(cable) = cable("cuts_and_kills_at_random_lose_and_double_nothing") else { return };
    let minutes = std::env::var("TUBEPOST_BRIDGE_MINUTES").ok().and_then(|text| text.parse().ok());
    let long = minutes.map_or(A_WHILE, |minutes: u64| Duration::from_secs(60 * minutes));
    // Another one each time; told, for who wants the same again.
    let seed = std::env::var("TUBEPOST_BRIDGE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    println!("TUBEPOST_BRIDGE_SEED={seed}");
    let mut state: u64 = seed;
    let mut dice = move |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    let (mut there, mut here, _config) = cable.hosts(Duration::from_secs(10));
    balance(&mut there, &mut here, long, |_, there, here| {
        // At no particular moment, for no particular time: no condition is waited for.
        let sleep = |milliseconds| std::thread::sleep(Duration::from_millis(milliseconds));
        sleep(dice(500));
        let what = dice(8);
        let (cut, kill_there, kill_here) = (what & 1 != 0, what & 2 != 0, what & 4 != 0);
        if cut {
            cable.plug(1, false);
            sleep(dice(300));
        }
        if kill_there {
            there.kill();
        }
        if kill_here {
            here.kill();
        }
        sleep(dice(200));
        if kill_here {
            here.start();
        }
        if cut {
            sleep(dice(300));
            cable.plug(1, true);
        }
        if kill_there {
            there.start();
        }
    });
}
