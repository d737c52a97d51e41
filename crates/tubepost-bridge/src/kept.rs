//! What outlives the bridge's process: who it is, how far it had come with each stream, and which mailboxes are stand-ins of its own. All of it is in the
//! domain, as regions, and goes with that when the machine ends.
//!
//! **What if it dies here?** A region has whole versions: what was being written is not there. The order in which things are written is told where they are.

use crate::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};
use tubepost::{Domain, Message, Region, Table};

/// Names that bridges keep for themselves begin so, and are neither exported nor imported.
pub(crate) const OURS: &str = "bridge/";
const RUNNING: &str = "bridge/running";
const BRIDGE: &str = "bridge/number";
/// How many bridges this domain has had so far.
const RUNS: &str = "bridge/runs";
const PLACED: &str = "bridge/placed";
const STAND_INS: &str = "bridge/stand-ins";

/// So many streams are remembered; then the one that was silent for longest is forgotten.
const STREAMS: u64 = 4096;
/// So many mailboxes are imported at most.
const IMPORTS: u64 = 4096;

/// Which stand-in, of which bridge.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub(crate) struct StreamKey {
    mailbox: [u64; 2],
    stand_in: [u64; 2],
}

/// How far a stream had come.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Placed {
    /// The position behind the last message that was placed.
    pub(crate) placed_to: u64,
    /// 1 + the number that this message has in the mailbox; 0 if it has none.
    pub(crate) number: u64,
    /// 1 + the number of a message that was placed after that, by a bridge that died before noting it: the next one that comes. Else 0.
    pub(crate) ahead: u64,
    /// The sender by which this stream places messages has this number, or a higher one, before it; and it is called so.
    from: u64,
    member: [u8; 64],
    /// When that was, in seconds.
    when: u64,
}

/// What the sender of a stream from this host is called.
pub(crate) fn member_of(stream: u64, host: &str) -> String {
    format!("{stream:016x} {host:.40}").chars().filter(char::is_ascii).collect()
}

#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct StandIn {
    id: [u64; 2],
    bridge: [u64; 2],
    mailbox: [u64; 2],
}

/// A mailbox here that stands for one elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) name: String,
    /// Its id; nothing, if the bridge may have died before it made it, or just after.
    pub(crate) id: Option<u128>,
    /// The bridge that exports …
    pub(crate) bridge: u128,
    /// … this mailbox.
    pub(crate) mailbox: u128,
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bridge: u128,
    placed: Table<StreamKey, Placed>,
    stand_ins: Table<[u8; 256], StandIn>,
    _running: Region<u64>,
}

fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

fn whole([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

fn in_table(name: &str) -> [u8; 256] {
    let mut key = [0; 256];
    let length = name.len().min(255);
    key[..length].copy_from_slice(&name.as_bytes()[..length]);
    key
}

/// An id as a number.
pub(crate) fn number_of(id: tubepost::Id) -> u128 {
    u128::from_be_bytes(id.to_bytes())
}

/// A number that nobody else has.
pub(crate) fn fresh() -> u64 {
    let mut bytes = [0; 8];
    // For eight bytes the kernel is never short.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Placed {
    /// With one more message.
    pub(crate) fn with(self, position: u64, number: Option<u64>) -> Placed {
        Placed { placed_to: position + 1, number: number.map_or(0, |number| number + 1), ahead: 0, ..self }
    }
}

impl StreamKey {
    pub(crate) fn new(mailbox: u128, stand_in: u128) -> StreamKey {
        StreamKey { mailbox: halves(mailbox), stand_in: halves(stand_in) }
    }

    pub(crate) fn is_of(&self, mailbox: u128) -> bool {
        self.mailbox == halves(mailbox)
    }
}

impl Kept {
    /// Opens what is there, or makes it. This process is the domain's bridge from now on.
    pub(crate) fn open(domain: &Domain) -> Result<Kept, Error> {
        let running = match Region::<u64>::options().domain(domain).member("bridge").own(RUNNING) {
            Ok(running) => running,
            Err(tubepost::Error::Owned { pid, .. }) => {
                return Err(Error::Running { domain: domain.path().into(), pid });
            }
            Err(other) => return Err(other.into()),
        };
        let numbers = Region::<[u64; 2]>::options().domain(domain).member("bridge");
        let numbers = match numbers.create(BRIDGE) {
            Err(tubepost::Error::Exists { .. }) => numbers.open(BRIDGE)?,
            made => made?,
        };
        let mut bridge = numbers.get()?;
        if bridge == [0, 0] {
            bridge = [fresh(), fresh()];
            numbers.set(&bridge)?;
        }
        let runs = Region::<u64>::options().domain(domain).member("bridge");
        let runs = match runs.create(RUNS) {
            Err(tubepost::Error::Exists { .. }) => runs.open(RUNS)?,
            made => made?,
        };
        runs.set(&(runs.get()? + 1))?;
        let placed = || Table::options().domain(domain).member("bridge");
        let placed = match placed().capacity(STREAMS).create(PLACED) {
            Err(tubepost::Error::Exists { .. }) => placed().open(PLACED)?,
            made => made?,
        };
        let stand_ins = || Table::options().domain(domain).member("bridge");
        let stand_ins = match stand_ins().capacity(IMPORTS).create(STAND_INS) {
            Err(tubepost::Error::Exists { .. }) => stand_ins().open(STAND_INS)?,
            made => made?,
        };
        Ok(Kept { bridge: whole(bridge), placed, stand_ins, _running: running })
    }

    /// How far a stream had come, for one that goes on with it: by a sender of this name, before which the mailbox has `from` messages.
    pub(crate) fn go_on(
        &self,
        stream: &StreamKey,
        member: &str,
        from: u64,
    ) -> Result<Placed, tubepost::Error> {
        let mut name = [0; 64];
        let length = member.len().min(64);
        name[..length].copy_from_slice(&member.as_bytes()[..length]);
        let new = Placed { placed_to: 0, number: 0, ahead: 0, from: 0, member: [0; 64], when: 0 };
        let before = self.placed.get(stream)?.unwrap_or(new);
        let placed = Placed { from, member: name, ..before };
        self.note_placed(stream, &placed)?;
        Ok(placed)
    }

    /// Notes how far a stream has come.
    pub(crate) fn note_placed(&self, stream: &StreamKey, placed: &Placed) -> Result<(), tubepost::Error> {
        let placed = Placed { when: seconds(), ..*placed };
        match self.placed.insert(stream, &placed) {
            Err(tubepost::Error::TableFull { .. }) => {
                let eldest = self.placed.read()?.iter().min_by_key(|entry| entry.value.when).map(|e| e.key);
                if let Some(eldest) = eldest {
                    self.placed.remove(&eldest)?;
                }
                self.placed.insert(stream, &placed).map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Finds out what an earlier bridge placed in this mailbox and did not note. Before this one opens it: who comes may have the place of one that is dead.
    pub(crate) fn look_for_unnoted(
        &self,
        domain: &Domain,
        name: &str,
        mailbox: u128,
    ) -> Result<(), tubepost::Error> {
        let streams: Vec<(StreamKey, Placed)> = {
            let all = self.placed.read()?;
            let here = all.iter().filter(|entry| entry.key.mailbox == halves(mailbox));
            here.map(|entry| (entry.key, entry.value)).collect()
        };
        for (stream, placed) in streams {
            let end = placed.member.iter().position(|byte| *byte == 0).unwrap_or(64);
            let member = String::from_utf8_lossy(&placed.member[..end]);
            if placed.ahead == 0
                && !member.is_empty()
                && let Some(number) = domain.sent_by(name, &member, placed.from.max(placed.number))?
            {
                self.note_placed(&stream, &Placed { ahead: number + 1, ..placed })?;
            }
        }
        Ok(())
    }

    /// Forgets the streams to a mailbox that is over.
    pub(crate) fn forget_mailbox(&self, mailbox: u128) -> Result<(), tubepost::Error> {
        let over: Vec<StreamKey> = {
            let all = self.placed.read()?;
            all.iter().map(|entry| entry.key).filter(|key| key.mailbox == halves(mailbox)).collect()
        };
        over.iter().try_for_each(|key| self.placed.remove(key).map(drop))
    }

    /// All stand-ins.
    pub(crate) fn stand_ins(&self) -> Result<Vec<Standing>, tubepost::Error> {
        all_in(&self.stand_ins)
    }

    /// How many bridges the domain has had, if none is running now.
    pub(crate) fn runs_so_far(domain: &Domain) -> Result<Option<u64>, tubepost::Error> {
        if domain.stat(RUNNING).is_ok() {
            return Ok(None);
        }
        match Region::<u64>::options().domain(domain).member("guard").open(RUNS) {
            Ok(runs) => runs.get().map(Some),
            Err(tubepost::Error::NoSuchName { .. }) => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// The same, for who is not the bridge.
    pub(crate) fn stand_ins_of(domain: &Domain) -> Result<Vec<Standing>, tubepost::Error> {
        match Table::options().domain(domain).member("guard").open(STAND_INS) {
            Ok(table) => all_in(&table),
            Err(tubepost::Error::NoSuchName { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn note_stand_in(&self, standing: &Standing) -> Result<(), tubepost::Error> {
        let Standing { name, id, bridge, mailbox } = standing;
        let value =
            StandIn { id: halves(id.unwrap_or(0)), bridge: halves(*bridge), mailbox: halves(*mailbox) };
        self.stand_ins.insert(&in_table(name), &value).map(drop)
    }

    pub(crate) fn forget_stand_in(&self, name: &str) -> Result<(), tubepost::Error> {
        self.stand_ins.remove(&in_table(name)).map(drop)
    }
}

fn all_in(stand_ins: &Table<[u8; 256], StandIn>) -> Result<Vec<Standing>, tubepost::Error> {
    let all = stand_ins.read()?;
    Ok(all
        .iter()
        .map(|entry| {
            let end = entry.key.iter().position(|byte| *byte == 0).unwrap_or(256);
            let StandIn { id, bridge, mailbox } = entry.value;
            Standing {
                name: String::from_utf8_lossy(&entry.key[..end]).into_owned(),
                id: Some(whole(id)).filter(|id| *id != 0),
                bridge: whole(bridge),
                mailbox: whole(mailbox),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_outlives_the_bridge_and_there_is_one() {
        let path = format!("/dev/shm/tubepost-bridge-kept-{}", std::process::id());
        let domain = Domain::open(&path).unwrap();
        let kept = Kept::open(&domain).unwrap();
        let bridge = kept.bridge;
        let stream = StreamKey::new(1 << 100, 2);
        let placed = kept.go_on(&stream, "0 host", 3).unwrap();
        assert_eq!((placed.placed_to, placed.number, placed.ahead), (0, 0, 0));
        kept.note_placed(&stream, &Placed { placed_to: 7, number: 1, ..placed }).unwrap();
        let standing = Standing { name: "a/b".into(), id: None, bridge: 1 << 90, mailbox: 5 };
        kept.note_stand_in(&standing).unwrap();
        assert!(matches!(Kept::open(&domain), Err(Error::Running { pid, .. }) if pid == std::process::id()));
        assert_eq!(Kept::runs_so_far(&domain), Ok(None));
        drop(kept);
        assert_eq!(Kept::runs_so_far(&domain), Ok(Some(1)));

        let kept = Kept::open(&domain).unwrap();
        assert_eq!(kept.bridge, bridge);
        let placed = kept.go_on(&stream, "1 host", 4).unwrap();
        assert_eq!((placed.placed_to, placed.number, placed.from), (7, 1, 4));
        assert_eq!(kept.stand_ins(), Ok(vec![standing]));
        kept.forget_stand_in("a/b").unwrap();
        kept.forget_mailbox(1 << 100).unwrap();
        assert_eq!((kept.stand_ins(), kept.placed.get(&stream)), (Ok(vec![]), Ok(None)));

        for stream in 0..u128::from(STREAMS) + 10 {
            kept.go_on(&StreamKey::new(1, stream), "2 host", 0).unwrap();
        }
        assert!(kept.placed.get(&StreamKey::new(1, u128::from(STREAMS) + 9)).unwrap().is_some());
        drop(kept);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
