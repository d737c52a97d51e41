//! What the packets of a connection say. Every one is checked before anything is done with it.
//!
//! ```text
//! 0   u32   kind
//! 4   u32   how many bytes follow the head
//! 8   u64   the token
//! 16  u64   how many descriptors come with it, if it brings an area; if it is a message that in the lower half, and in the upper one 0, or, where
//!           its token was put back by somebody, the so many-th it is that its sender sends after the token (`turn`)
//! 24        the rest
//! ```
//!
//! | kind | from | what |
//! |---|---|---|
//! | 1 hello | sender | the first one; the rest is what the sender is called. Token 0: it asks for no tokens here |
//! | 2 message | sender | the rest is the message |
//! | 3 awaited | sender | the same, and the sender waits until it is collected |
//! | 4 grant | owner | a token for who can't open the pipe |
//! | 5 collected | owner | the message that was awaited was received |
//! | 6 withdraw | sender | it awaits it no more, and wants it back, if it was not collected so far |
//! | 7 link | sender | instead of hello, where a process has one socket for all its links: the rest is what the sending process is called; the token is which life of that it is (`domain::party`), and in place of the descriptors there is which link (the first word of its id) |
//! | 8 area | owner | its area for this sender comes with it (sealed strategy; there the sender's comes with hello) |
//! | 9 note | both | there is something in memory that the other one waits for (sealed strategy) |

use crate::os::packet::HEAD;

/// The longest name of a sender in bytes.
pub(crate) const LONGEST_NAME: usize = crate::queue::layout::MAX_MEMBER_NAME;

/// In a hello: the connection is for awaited messages only, and asks for no tokens.
pub(crate) const NO_GRANTS: u64 = 0;

/// A token that is put back by somebody who could not use it says no more when it was taken.
pub(crate) const ANY: u64 = u64::MAX - 1;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Hello = 1,
    Message = 2,
    Awaited = 3,
    Grant = 4,
    Collected = 5,
    Withdraw = 6,
    Link = 7,
    Area = 8,
    Note = 9,
}

/// The head of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) length: u32,
    pub(crate) token: u64,
    pub(crate) descriptors: u64,
    /// Of a message whose token was put back: its sender's so many-th after that token.
    pub(crate) after: u32,
}

impl Head {
    #[inline]
    pub(crate) fn encode(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&(self.kind as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.token.to_ne_bytes());
        let about = self.descriptors | u64::from(self.after) << 32;
        bytes[16..].copy_from_slice(&about.to_ne_bytes());
        bytes
    }

    /// The head of a packet of `length` bytes in all, if it is one of ours.
    #[inline]
    pub(crate) fn decode(bytes: &[u8; HEAD], length: usize) -> Option<Head> {
        let word = |at: usize| u64::from_ne_bytes(*bytes[at..].first_chunk().expect("a head is long enough"));
        let half = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().expect("a head is long enough"));
        let kind = match half(0) {
            1 => Kind::Hello,
            2 => Kind::Message,
            3 => Kind::Awaited,
            4 => Kind::Grant,
            5 => Kind::Collected,
            6 => Kind::Withdraw,
            7 => Kind::Link,
            8 => Kind::Area,
            9 => Kind::Note,
            _ => return None,
        };
        let (descriptors, after) = match (kind, word(16)) {
            (Kind::Message | Kind::Awaited, about) => (about & u64::from(u32::MAX), (about >> 32) as u32),
            (_, about) => (about, 0),
        };
        let head = Head { kind, length: half(4), token: word(8), descriptors, after };
        (length.checked_sub(HEAD)? == head.length as usize).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let head = Head { kind: Kind::Awaited, length: 5, token: 4, descriptors: 9, after: 8 };
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes, HEAD + 5), Some(head));
        for length in [0, 5, HEAD, HEAD + 4, HEAD + 6] {
            assert_eq!(Head::decode(&bytes, length), None, "{length}");
        }
        for kind in [0, 10, u8::MAX] {
            let mut bytes = bytes;
            bytes[0] = kind;
            assert_eq!(Head::decode(&bytes, HEAD + 5), None, "kind {kind}");
        }
    }
}
