//! Hosts in network namespaces of their own, with a cable between them that is pulled and put back.

use crate::killed::balance;
use crate::stage::{Host, PATIENCE, eventually, skip};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tubepost::{Mailbox, Sender};

static CABLES: AtomicU32 = AtomicU32::new(0);

/// Two namespaces and a cable.
struct Cable {
    ends: [String; 2],
    number: u32,
}

fn ip(args: &str) -> Result<(), String> {
    let done = Command::new("ip").args(args.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { Ok(()) } else { Err(format!("ip {args}: {said}")) }
}

impl Cable {
    fn new() -> Result<Cable, String> {
        let (pid, number) = (std::process::id(), CABLES.fetch_add(1, Relaxed));
        let cable = Cable { ends: [0, 1].map(|end| format!("tp{pid}-{number}-{end}")), number };
        let [a, b] = &cable.ends;
        ip(&format!("netns add {a}"))?;
        ip(&format!("netns add {b}"))?;
        ip(&format!("link add cable netns {a} type veth peer name cable netns {b}"))?;
        for (end, namespace) in cable.ends.iter().enumerate() {
            ip(&format!("-n {namespace} addr add 10.{}.{number}.{}/24 dev cable", 70 + pid % 100, end + 1))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set cable up"))?;
        }
        Ok(cable)
    }

    fn plug(&self, there: bool) {
        let state = if there { "up" } else { "down" };
        ip(&format!("-n {} link set cable {state}", self.ends[0])).expect("it could be made");
    }

    /// Two hosts, one at each end, whose links have this lease.
    fn hosts(&self, lease: Duration) -> (Host, Host) {
        let at = format!("tcp/10.{}.{}.1:7447", 70 + std::process::id() % 100, self.number);
        let config = std::env::temp_dir().join(format!("{}.json5", self.ends[0]));
        let lease = lease.as_millis();
        let text = format!(
            "{{ listen: {{ endpoints: [] }}, scouting: {{ multicast: {{ enabled: false }} }}, \
               transport: {{ link: {{ tx: {{ lease: {lease} }} }} }} }}"
        );
        std::fs::write(&config, text).expect("a file in the temporary directory");
        let config = config.to_str().expect("a path of ours");
        let [a, b] = &self.ends;
        let there = Host::within(Some(a), &["--zenoh-config", config, "--listen", &at, "--export", "*"]);
        let here = Host::within(Some(b), &["--zenoh-config", config, "--connect", &at, "--import", "*"]);
        (there, here)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for end in &self.ends {
            let _ = ip(&format!("netns del {end}"));
        }
        let _ = std::fs::remove_file(std::env::temp_dir().join(format!("{}.json5", self.ends[0])));
    }
}

/// Nothing, where no namespaces can be had: that is told.
fn cable(test: &str) -> Option<Cable> {
    Cable::new().inspect_err(|why| skip(test, why)).ok()
}

#[test]
fn a_short_cut_loses_and_doubles_nothing() {
    let Some(cable) = cable("a_short_cut_loses_and_doubles_nothing") else { return };
    let (mut there, mut here) = cable.hosts(Duration::from_secs(10));
    balance(&mut there, &mut here, |round, _, _| {
        // At no particular moment, for no particular time: no condition is waited for.
        std::thread::sleep(Duration::from_millis(200 + round * 7919 % 300));
        cable.plug(false);
        std::thread::sleep(Duration::from_millis(round * 613 % 700));
        cable.plug(true);
    });
}

#[test]
fn a_host_that_is_silent_counts_as_gone_after_the_lease_and_comes_back_by_itself() {
    let Some(cable) = cable("a_host_that_is_silent_counts_as_gone") else { return };
    let lease = Duration::from_secs(1);
    let (there, here) = cable.hosts(lease);
    let inbox = Mailbox::<u64>::options().domain(&there.domain).own("box").expect("a free name");
    here.until_there("box");
    let open = || Sender::<u64>::options().domain(&here.domain).open("box");
    let out = open().expect("it is there");
    out.send(1).expect("there is room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(1));

    cable.plug(false);
    let begin = Instant::now();
    out.send(2).expect("nobody knows so far");
    assert_eq!(out.closed().map(|closed| closed.uncollected), Ok(1));
    let late = begin.elapsed();
    assert!(late > lease / 2 && late < 3 * lease, "told after {late:?}");
    assert!(here.domain.stat("box").is_err());

    cable.plug(true);
    eventually("it is there again", || open().is_ok_and(|out| out.send(3).is_ok()));
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(3));
}
