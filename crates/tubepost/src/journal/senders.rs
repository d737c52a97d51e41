//! Who sent what: a list of names beside the log, for a record has room for a number only.
//!
//! One name in each line; the first one has number 1. A sender looks for its name when it opens the mailbox, and appends it if it is not there. The list only
//! grows, up to 65,535 names; who comes after that sends without a name.
//!
//! **What if it dies here?** Whoever appends has a lock on the file. A line that is not complete is no name, and is overwritten by the next one.

use super::store::{Store, file_mode};
use super::trouble;
use crate::error::Error;
use crate::os::{Errno, file as disk, lock};
use crate::queue::slots::Member;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What it is called.
pub(super) const NAMES: &str = "senders";
/// How often, a millisecond apart, to try for the lock.
const TRIES: u32 = 1000;

fn read(fd: &OwnedFd) -> Result<String, Errno> {
    let length = disk::facts(fd)?.length as usize;
    let mut bytes = vec![0; length];
    disk::read_at(fd.as_fd(), &mut bytes, 0)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    bytes.truncate(whole);
    String::from_utf8(bytes).map_err(|_| Errno::ILSEQ)
}

impl Store {
    /// The number of a sender's name; 0 if it has none.
    pub(crate) fn number_of(&self, name: &str) -> Result<Member, Error> {
        let failed = |errno| trouble("to write a sender's name in", &self.path, errno);
        if name.is_empty() || name.contains('\n') {
            return Ok(0);
        }
        let place = |text: &str| text.lines().position(|known| known == name);
        let reach = self.reach(NAMES);
        if disk::facts_at(&reach).is_err() {
            let fd = disk::make_nameless(&self.reach(""), 0, 0).map_err(failed)?;
            disk::permit(fd.as_fd(), file_mode(self.described.mode), self.described.group).map_err(failed)?;
            match disk::publish(fd.as_fd(), &reach) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        let fd = disk::open_file(&reach).map_err(failed)?;
        let text = read(&fd).map_err(failed)?;
        if let Some(known) = place(&text) {
            return Ok((known + 1) as Member);
        }
        for _ in 0..TRIES {
            if lock::try_lock(fd.as_fd(), 0).map_err(failed)? {
                let text = read(&fd).map_err(failed)?;
                let number = place(&text).unwrap_or(text.lines().count());
                if number >= usize::from(Member::MAX) {
                    return Ok(0);
                }
                if place(&text).is_none() {
                    let line = format!("{name}\n");
                    disk::write_at(fd.as_fd(), line.as_bytes(), text.len() as u64).map_err(failed)?;
                }
                return Ok((number + 1) as Member);
            }
            std::thread::sleep(Duration::from_millis(1)); // until it is its turn
        }
        Ok(0)
    }

    /// The name of this number.
    pub(crate) fn name_of(&self, number: Member) -> String {
        let Some(at) = usize::from(number).checked_sub(1) else { return String::new() };
        let text = disk::open_to_look_at(&self.reach(NAMES)).and_then(|fd| read(&fd)).unwrap_or_default();
        text.lines().nth(at).unwrap_or_default().to_owned()
    }
}
