//! A process that does what it is told, one thing per line, and says in a line what came of it. So a test is a
//! dialogue with processes of whatever user, in whatever namespace.
//!
//! Messages are bytes: what a line says, or, said as `*LENGTH`, so many of a pattern, checked on receipt.

use std::collections::HashMap;
use std::time::Duration;

use tubepost::{Delivery, Domain, Error, Mailbox, Receiver, Sender};

use crate::stage::{Child, Cue, Role, become_member, limit_files, mount_again, mount_read_only};

pub const ROLES: &[Role] = &[("citizen", citizen)];

/// Starts one, as this user and group; `args` is the domain's path, user and group.
fn citizen(cue: &mut Cue) {
    if let Some([user, group]) = cue.rest(1) {
        become_member(user.parse().expect("a user"), group.parse().expect("a group"));
    }
    let mut citizen = Citizen { path: cue.arg(0).to_owned(), ..Citizen::default() };
    loop {
        let line = cue.hear();
        let words: Vec<&str> = line.split(' ').collect();
        cue.say(citizen.obey(&words).unwrap_or_else(|error| error));
    }
}

#[derive(Default)]
struct Citizen {
    path: String,
    senders: HashMap<String, Sender<[u8]>>,
    receivers: HashMap<String, Receiver<[u8]>>,
    hand: Vec<Delivery<[u8]>>,
}

/// An error in one word, or two: which it is, and which error it wraps.
pub fn kind(error: &Error) -> String {
    let text = format!("{error:?}");
    assert!(!error.to_string().is_empty());
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The same for the errors of sending and receiving, whose `Debug` begins with what stopped them.
fn stopped(error: impl std::fmt::Debug + Into<Error>) -> String {
    match error.into() {
        Error::Closed(closed) => format!("Closed {}", closed.uncollected),
        error => kind(&error),
    }
}

impl Citizen {
    fn domain(&self) -> Result<Domain, String> {
        Domain::open(&self.path).map_err(|error| kind(&error))
    }

    fn obey(&mut self, words: &[&str]) -> Result<String, String> {
        let name = words.get(1).copied().unwrap_or_default();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let millis = |at: usize| Duration::from_millis(number(at));
        let bad = |error: Error| kind(&error);
        let fine = |()| "ok".to_owned();
        match words[0] {
            "domain" => self.domain().map(|_| "ok".into()),
            "default" => Domain::open_default().map(|_| "ok".into()).map_err(bad),
            "named" => Domain::open(name).map(|_| "ok".into()).map_err(bad),
            // create NAME MODE CAPACITY [GROUP]
            "create" | "own" => {
                let mode = u32::from_str_radix(words[2], 8).expect("a mode");
                let domain = self.domain()?;
                let mut options = Mailbox::<[u8]>::options().domain(&domain).mode(mode).bounded(number(3));
                if let Some(group) = words.get(4) {
                    options = options.group(group.parse().expect("a group"));
                }
                if words[0] == "create" {
                    return options.create(name).map(|_| "ok".into()).map_err(bad);
                }
                self.receivers.insert(name.into(), options.own(name).map_err(bad)?);
                Ok("ok".into())
            }
            "sender" => {
                let domain = self.domain()?;
                let sender = Sender::options().domain(&domain).open(name).map_err(bad)?;
                self.senders.insert(name.into(), sender);
                Ok("ok".into())
            }
            "receiver" => {
                let domain = self.domain()?;
                let receiver = Receiver::options().domain(&domain).open(name).map_err(bad)?;
                self.receivers.insert(name.into(), receiver);
                Ok("ok".into())
            }
            // send NAME MILLISECONDS WHAT
            "send" => {
                let bytes = message(words[3]);
                self.senders[name].send_timeout(&bytes, millis(2)).map(fine).map_err(stopped)
            }
            "try" => self.senders[name].try_send(&message(words[2])).map(fine).map_err(stopped),
            // recv NAME MILLISECONDS
            "recv" => {
                let envelope = self.receivers[name].recv_envelope_timeout(millis(2)).map_err(stopped)?;
                Ok(format!("ok {} {}", spell(&envelope.message), envelope.redelivered))
            }
            "take" => {
                let delivery = self.receivers[name].take_timeout(millis(2)).map_err(stopped)?;
                let said = format!("ok {} {}", spell(&delivery), delivery.redelivered());
                self.hand.push(delivery);
                Ok(said)
            }
            "accept" => self.hand.remove(0).accept().map(fine).map_err(bad),
            "closed" => match self.senders[name].closed_timeout(millis(2)).map_err(bad)? {
                Some(closed) => Ok(format!("closed {}", closed.uncollected)),
                None => Ok("open".into()),
            },
            "drop" => {
                self.senders.remove(name);
                self.receivers.remove(name);
                Ok("ok".into())
            }
            "remove" => {
                self.domain()?.remove(name).map(|closed| format!("ok {}", closed.uncollected)).map_err(bad)
            }
            "take-away" => {
                let closed = self.domain()?.remove_owned(name);
                closed.map(|closed| format!("ok {}", closed.uncollected)).map_err(bad)
            }
            "why" => match self.domain()?.remove(name) {
                Ok(_) => Ok("ok".into()),
                Err(error) => Ok(error.to_string()),
            },
            "gc" => {
                let swept = self.domain()?.gc().map_err(bad)?;
                let mut said = format!("removed {}", swept.removed.join(","));
                for (name, error) in &swept.left_alone {
                    said += &format!("; left {name} {}", kind(error));
                }
                Ok(said)
            }
            "list" => {
                let listed = self.domain()?.list().map_err(bad)?;
                let tell = |it: &tubepost::Listed| match &it.stat {
                    Ok(stat) => format!("{} {} {}", it.name, stat.depth, stat.held),
                    Err(error) => format!("{} {}", it.name, kind(error)),
                };
                Ok(listed.iter().map(tell).collect::<Vec<_>>().join("; "))
            }
            "stat" => self.domain()?.stat(name).map(|_| "ok".into()).map_err(bad),
            "pid" => Ok(std::process::id().to_string()),
            "read-only" => {
                Ok(mount_read_only(&self.path).map_or_else(|error| format!("skip {error}"), |()| "ok".into()))
            }
            "bind" => Ok(mount_again(words[1], &self.path)
                .map_or_else(|error| format!("skip {error}"), |()| "ok".into())),
            "hide-proc" => Ok(crate::stage::mount_tmpfs("/proc", "size=4k")
                .map_or_else(|error| format!("skip {error}"), |()| "ok".into())),
            "no-files" => {
                limit_files(0);
                Ok("ok".into())
            }
            other => panic!("what is {other}?"),
        }
    }
}

fn message(word: &str) -> Vec<u8> {
    match word.strip_prefix('*') {
        Some(length) => pattern(length.parse().expect("a length")),
        None => word.as_bytes().to_vec(),
    }
}

/// Bytes that say how many they are, in every place.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251 + length) as u8).collect()
}

fn spell(bytes: &[u8]) -> String {
    if bytes.len() > 200 {
        assert!(bytes == pattern(bytes.len()), "a torn message of {} bytes", bytes.len());
        return format!("*{}", bytes.len());
    }
    String::from_utf8(bytes.to_vec()).expect("what a citizen sends is text")
}

/// Asks, and expects these answers.
#[track_caller]
pub fn dialogue(child: &mut Child, lines: &[(&str, &str)]) {
    for (line, answer) in lines {
        assert_eq!(child.ask(line), *answer, "to {line:?}");
    }
}
