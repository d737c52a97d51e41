//! A connection as its owner sees it.

use super::packet::{Head, Kind, LONGEST_NAME, NO_GRANTS};
use crate::domain::member::Peer;
use crate::os::Errno;
use crate::os::packet::{self, HEAD, Who};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Messages of so many bytes are copied to where they belong, and nowhere else: that is worth a look at them before.
const LONG: usize = 16 << 10;

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) socket: Arc<OwnedFd>,
    pub(super) who: Who,
    /// What its sender is called, once it said so.
    name: Option<String>,
    /// The last message was long: most probably the next one is.
    long: bool,
    /// Its first message lies in the owner's memory.
    pub(super) kept: bool,
    /// Its user can open the pipe.
    pub(super) trusted: bool,
    /// Else: whether it asks for tokens, and the one that it was given and did not use so far.
    pub(super) asks: bool,
    pub(super) granted: Option<u64>,
}

/// What was found in a connection.
pub(super) enum Found {
    /// Nothing now.
    Nothing,
    /// A message; its bytes are in the room that was given …
    Message(Head),
    /// … or, for they are many, still in the connection.
    Long(Head),
    /// Its sender wants a message back.
    Withdraw,
    /// Nobody is there any more.
    HungUp,
    /// It does not keep the protocol.
    Rubbish,
}

/// What was heard by a connection of the sealed strategy.
pub(super) enum Heard {
    Nothing,
    /// The first packet, which is still there: the sender's area, and what it is called.
    Area(OwnedFd, String),
    /// There is something in its area.
    Note,
    HungUp,
    Rubbish,
    /// There is no descriptor for what comes with it.
    NoRoom,
}

impl Line {
    /// What comes next, of the sealed strategy.
    pub(super) fn hear(&self) -> Heard {
        let (mut head, mut rest, mut descriptors) = ([0; HEAD], Vec::new(), Vec::new());
        let socket = self.socket.as_fd();
        let came = loop {
            let came = match self.name {
                None => packet::peek_whole(socket, &mut head, &mut rest, LONGEST_NAME, &mut descriptors),
                Some(_) => packet::receive(socket, &mut head, &mut rest, 0, Some(&mut descriptors)),
            };
            match came {
                Ok(came) => break came,
                Err(Errno::AGAIN) => return Heard::Nothing,
                Err(Errno::CONNRESET) => continue, // what it sent before is still there
                Err(_) => return Heard::HungUp,
            }
        };
        if came.length == 0 {
            return Heard::HungUp;
        }
        let Some(head) = Head::decode(&head, came.length).filter(|_| !came.cut) else {
            return Heard::Rubbish;
        };
        match (head.kind, &self.name) {
            // Where one came, more than one was sent.
            (Kind::Hello, None) if came.lost && descriptors.is_empty() => Heard::NoRoom,
            (Kind::Hello, None) if head.descriptors == 1 && descriptors.len() == 1 && !came.lost => {
                let name = String::from_utf8_lossy(&rest).chars().filter(|it| !it.is_control()).collect();
                Heard::Area(descriptors.remove(0), name)
            }
            (Kind::Note, Some(_)) if descriptors.is_empty() && !came.lost => Heard::Note,
            _ => Heard::Rubbish,
        }
    }

    /// Its first packet, which was looked at, is dealt with.
    pub(super) fn introduced(&mut self, name: String) {
        let _ = packet::receive(self.socket.as_fd(), &mut [0; HEAD], &mut Vec::new(), LONGEST_NAME, None);
        self.name = Some(name);
    }

    pub(super) fn new(socket: OwnedFd, who: Who, trusted: bool) -> Line {
        Line {
            socket: Arc::new(socket),
            who,
            name: None,
            long: false,
            kept: false,
            trusted,
            asks: false,
            granted: None,
        }
    }

    /// One that said before what its sender is called.
    pub(super) fn called(self, name: String) -> Line {
        Line { name: Some(name), ..self }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer { pid: self.who.pid, name: self.name.clone().unwrap_or_default() }
    }

    /// The next message, of at most so many bytes.
    #[inline]
    pub(super) fn read(
        &mut self,
        room: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
        longest: usize,
    ) -> Found {
        if self.long
            && let Some(found) = self.look(longest)
        {
            return found;
        }
        let mut head = [0; HEAD];
        loop {
            let most = longest.max(LONGEST_NAME);
            let came = match packet::receive(self.socket.as_fd(), &mut head, room, most, Some(descriptors)) {
                Ok(came) => came,
                Err(Errno::AGAIN) => return Found::Nothing,
                // It went with something unread: what it sent before is still there.
                Err(Errno::CONNRESET) => continue,
                Err(_) => return Found::HungUp,
            };
            if came.length == 0 {
                return Found::HungUp;
            }
            let Some(head) = Head::decode(&head, came.length).filter(|_| !came.cut) else {
                return Found::Rubbish;
            };
            match head.kind {
                // What has no descriptors must not have any; and those of a message are all here, or there was no room for them.
                Kind::Message | Kind::Awaited if came.lost && head.descriptors > descriptors.len() as u64 => {
                }
                Kind::Message | Kind::Awaited if head.descriptors == descriptors.len() as u64 => {}
                Kind::Message | Kind::Awaited => return Found::Rubbish,
                _ if came.lost || !descriptors.is_empty() => return Found::Rubbish,
                _ => {}
            }
            match head.kind {
                Kind::Hello if self.name.is_none() && room.len() <= LONGEST_NAME => {
                    let name = String::from_utf8_lossy(room);
                    self.name = Some(name.chars().filter(|it| !it.is_control()).collect());
                    self.asks = !self.trusted && head.token != NO_GRANTS;
                }
                Kind::Message | Kind::Awaited if self.name.is_some() && room.len() <= longest => {
                    self.long = room.len() >= LONG;
                    return Found::Message(head);
                }
                Kind::Withdraw if room.is_empty() => return Found::Withdraw,
                _ => return Found::Rubbish,
            }
        }
    }

    /// The next message is not left where it is.
    pub(super) fn receive_normally(&mut self) {
        self.long = false;
    }

    /// The next message, if it is long: it stays where it is.
    #[cold]
    fn look(&mut self, longest: usize) -> Option<Found> {
        let mut head = [0; HEAD];
        let length = packet::peek(self.socket.as_fd(), &mut head).ok()?;
        let head = Head::decode(&head, length)?;
        let size = head.length as usize;
        let is_message = matches!(head.kind, Kind::Message | Kind::Awaited);
        self.long = size >= LONG;
        let fits = is_message && head.descriptors == 0 && self.long && size <= longest && self.name.is_some();
        fits.then_some(Found::Long(head))
    }

    /// Says something to the sender. One who does not listen does not hear it.
    pub(super) fn say(&self, kind: Kind, token: u64) -> bool {
        let head = Head { kind, length: 0, token, descriptors: 0, after: 0 };
        packet::send(self.socket.as_fd(), &head.encode(), &[], &[]).is_ok()
    }
}
