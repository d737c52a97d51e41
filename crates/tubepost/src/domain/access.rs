//! Who may do what: with a domain, and with the things in it.
//!
//! The kernel checks the mode of a mailbox's file: who has none of its bits can't open it. What
//! it cannot tell apart is sending and receiving, for both write to the same memory. So a mode
//! is kept twice: in the file, where whoever may do one of the two has both bits, and as it was
//! given, in the segment: r to receive, w to send. The second is kept by this library, not by the kernel.

use super::failed;
use super::name::Name;
use super::segment::Segment;
use crate::error::{Error, Whose};
use crate::os::Errno;
use crate::os::file::{self, Facts, may_write};
use rustix::process::{getegid, geteuid, getgroups};
use rustix::thread::{CapabilitySet, capabilities};
use std::path::Path;

/// The bits that a mailbox's mode may have; its owner has both.
const MODES: u32 = 0o666;
const OWNERS: u32 = 0o600;

/// The mode a mailbox has unless told otherwise: its owner's alone.
pub(crate) const PRIVATE: u32 = 0o600;

/// Checks a mode that somebody chose.
pub(crate) fn check_mode(mode: u32) -> Result<(), Error> {
    if mode & !MODES == 0 && mode & OWNERS == OWNERS {
        return Ok(());
    }
    Err(Error::BadOption {
        what: "the mode",
        given: format!("{mode:04o}"),
        allowed: "r (4) is to receive, w (2) to send, for owner, group and others; its owner has both: \
                  0600, 0620, 0640, 0660 to 0666"
            .into(),
    })
}

/// The mode of the file: reading and writing for whoever may do either.
pub(crate) fn file_mode(mode: u32) -> u32 {
    let some = (mode | mode >> 1 | mode >> 2) & 0o111;
    some * 6
}

/// The mode of the entry of a mailbox by whose memory no message goes: only its owner's user writes there.
pub(crate) fn entry_mode(mode: u32) -> u32 {
    let some = (mode | mode >> 1 | mode >> 2) & 0o111;
    (some * 4) | OWNERS
}

/// The mode of a region's data: reading for those who may, writing only for those who may do both.
pub(crate) fn data_mode(mode: u32) -> u32 {
    mode & 0o666
}

/// Checks a mode that somebody chose for data: nobody writes who can't read.
pub(crate) fn check_data_mode(mode: u32) -> Result<(), Error> {
    let blind = (mode >> 1) & 0o111 & !((mode >> 2) & 0o111);
    if mode & !MODES == 0 && mode & OWNERS == OWNERS && blind == 0 {
        return Ok(());
    }
    Err(Error::BadOption {
        what: "the mode",
        given: format!("{mode:04o}"),
        allowed: "r (4) is to read, w (2) to write, for owner, group and others; its owner has both, and who writes reads: \
                  0600, 0640, 0660, 0644, 0664, 0666"
            .into(),
    })
}

/// The mode of a socket: who may send may write to it.
pub(crate) fn socket_mode(mode: u32) -> u32 {
    mode & 0o222 | OWNERS
}

/// Whether a mailbox of this mode lets a process send that is another's, by the kernel's word.
pub(crate) fn lets_send(mode: u32, owner: u32, group: u32, user: u32, groups: &[u32]) -> bool {
    let bits = if user == 0 {
        return true;
    } else if user == owner {
        mode >> 6
    } else if groups.contains(&group) {
        mode >> 3
    } else {
        mode
    };
    bits & Right::Send.bit() != 0
}

/// What somebody wants to do with a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Send,
    Receive,
}

impl Right {
    fn bit(self) -> u32 {
        match self {
            Right::Send => 0o2,
            Right::Receive => 0o4,
        }
    }

    /// With a mailbox, or with data.
    pub(crate) fn doing(self, data: bool) -> &'static str {
        match self {
            Right::Send if data => "to write",
            Right::Receive if data => "to read",
            Right::Send => "to send to",
            Right::Receive => "to receive from",
        }
    }
}

/// Whether a mailbox of this mode, whose file belongs to `owner` and `group`, lets us.
pub(crate) fn permits(mode: u32, owner: u32, group: u32, right: Right) -> bool {
    let us = geteuid().as_raw();
    let bits = if us == 0 {
        return true; // as the kernel has it
    } else if us == owner {
        mode >> 6
    } else if is_our_group(group) {
        mode >> 3
    } else {
        mode
    };
    bits & right.bit() != 0
}

pub(crate) fn is_our_user(user: u32) -> bool {
    geteuid().as_raw() == user
}

fn is_our_group(group: u32) -> bool {
    getegid().as_raw() == group
        || getgroups().is_ok_and(|groups| groups.iter().any(|ours| ours.as_raw() == group))
}

/// What has a name could not be used: whose it is, if that was why.
pub(crate) fn refused(doing: &'static str, name: &Name, path: &Path, errno: Errno) -> Error {
    let whose = || {
        let facts = file::facts_at(path).ok()?;
        let (name, mode) = (name.to_string(), facts.mode & 0o777);
        Some(Box::new(Whose { name, user: facts.owner, group: facts.group, mode }))
    };
    match errno {
        Errno::ACCESS | Errno::PERM => Error::Denied { doing, path: path.into(), whose: whose() },
        errno => failed(doing, path, errno),
    }
}

impl Segment {
    /// Its mode, or the kernel, does not let us.
    pub(crate) fn denied(&self, doing: &'static str) -> Error {
        let ((user, group), name) = (self.belongs_to(), self.name.to_string());
        let whose = Box::new(Whose { name, user, group, mode: self.mode() });
        Error::Denied { doing, path: self.path(), whose: Some(whose) }
    }
}

/// Whether nobody can write to a mailbox but processes of our user (and those who may do everything): then what they
/// write keeps the protocol, and may be looked at where it is.
pub(crate) fn is_ours_alone(file: &Facts, directory: &Facts) -> bool {
    let us = geteuid().as_raw();
    [file, directory].iter().all(|facts| facts.owner == us && facts.mode & 0o077 == 0)
}

/// Whether the kernel lets us take away the name of a file in `directory`, which lies at `path`.
pub(crate) fn may_remove(file: &Facts, path: &Path, directory: &Facts) -> bool {
    const STICKY: u32 = 0o1000;
    let us = geteuid().as_raw();
    let own = us == directory.owner || us == file.owner;
    may_write(path) && (own || directory.mode & STICKY == 0 || overrides_owner(file))
}

/// Whether the kernel overlooks for us whose file it is: a matter of capabilities, for a container's root
/// may have none, and has none over a user that is unknown in there.
fn overrides_owner(file: &Facts) -> bool {
    /// What the kernel calls users and groups that are unknown in this user namespace.
    const UNKNOWN: u32 = 65534;
    const EVERYBODY: [&str; 3] = ["0", "0", "4294967295"];
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FOWNER));
    let knows_everybody = || {
        std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_whitespace().eq(EVERYBODY.iter().copied()))
    };
    capable && (file.owner != UNKNOWN && file.group != UNKNOWN || knows_everybody())
}

/// Whether a directory may be a domain of ours. A private one is our own and nobody else's. One that
/// was shared on purpose has the sticky bit, so that nobody can take away another's names; it may be
/// another's, if we were told to use it (`chosen`).
pub(crate) fn check_domain(path: &Path, facts: &Facts, chosen: bool) -> Result<(), Error> {
    const STICKY: u32 = 0o1000;
    let refused = |why: String| Err(Error::DomainRefused { path: path.into(), why });
    let us = geteuid().as_raw();
    let mode = facts.mode;
    let shared = chosen && mode & STICKY != 0;
    if facts.owner != us && !shared && mode & 0o002 == 0 {
        let who = facts.owner;
        return refused(format!(
            "it belongs to user {who}, not to you ({us}); choose another with --domain or TUBEPOST_DOMAIN, \
             or have its owner share it: chgrp it, then chmod 3770"
        ));
    }
    if mode & 0o002 != 0 {
        // One like /tmp is as it should be, and not ours to change.
        let advice = if mode & STICKY != 0 || facts.owner != us {
            "name a directory of its own below it, which will be made"
        } else {
            "make it private with `chmod 700`, or share it with a group: chgrp, then chmod 3770"
        };
        return refused(format!("its mode {mode:04o} lets anybody put things there; {advice}"));
    }
    if mode & 0o077 != 0 && !shared {
        return refused(format!(
            "its mode {mode:04o} lets others in; make it private with `chmod 700`, or share it with a \
             group: chgrp, then chmod 3770"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_either_can_do_both_as_far_as_the_kernel_knows() {
        for (mode, file) in
            [(0o600, 0o600), (0o620, 0o660), (0o640, 0o660), (0o666, 0o666), (0o602, 0o606), (0o644, 0o666)]
        {
            check_mode(mode).unwrap();
            assert_eq!(file_mode(mode), file, "{mode:o}");
        }
        for mode in [0, 0o400, 0o200, 0o060, 0o700, 0o610, 0o4600, 0o1777, u32::MAX] {
            let error = check_mode(mode).unwrap_err().to_string();
            assert!(error.contains("0600"), "{error}");
        }
    }
}
