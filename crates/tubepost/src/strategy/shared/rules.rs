//! What a receiver does with messages that come back too often, or that it is to hold for so long only.

use super::attach::{Wish, agree};
use crate::domain::Domain;
use crate::domain::access::Right;
use crate::domain::entry;
use crate::domain::name::Name;
use crate::error::Error;
use crate::format::Format;
use crate::queue::chunks::Chunk;
use crate::queue::fencing::milliseconds;
use crate::queue::layout::Kind;
use crate::strategy::{Outlet, Refusal};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The rules of one receiver.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// A message that was delivered more often than once and so many times again is not delivered here.
    pub(crate) max_redeliveries: Option<u8>,
    /// Where such messages go, and those that are rejected or are no messages; nowhere if there is no such place.
    pub(crate) dead_letters: Option<DeadLetters>,
    /// How many milliseconds a message is held that others wait for; 0: as long as one likes.
    pub(crate) longest_hold: u64,
    /// A message in hand keeps its place.
    pub(crate) keeps_places: bool,
}

/// Of n redeliveries; what counts them ends at 255.
pub(crate) const MOST_REDELIVERIES: u32 = 254;

impl Rules {
    /// The rules that were chosen, if they can be.
    pub(crate) fn new(
        max_redeliveries: Option<u32>,
        hold_max: Option<Duration>,
        dead_letters: Option<DeadLetters>,
    ) -> Result<Rules, Error> {
        let bad =
            |what, given: String, allowed: &str| Error::BadOption { what, given, allowed: allowed.into() };
        let most = max_redeliveries.unwrap_or(0);
        if most > MOST_REDELIVERIES {
            let allowed = "at most 254 redeliveries: what counts them ends at 255";
            return Err(bad("max_redeliveries", most.to_string(), allowed));
        }
        if hold_max.is_some_and(|time| time.is_zero()) {
            return Err(bad("hold_max", "no time at all".into(), "a time to work with each message"));
        }
        Ok(Rules {
            max_redeliveries: max_redeliveries.map(|_| most as u8),
            dead_letters,
            longest_hold: hold_max.map_or(0, milliseconds),
            keeps_places: false,
        })
    }

    /// Whether a message that was delivered so often is not delivered again here.
    #[inline]
    pub(crate) fn is_worn(&self, before: u8) -> bool {
        self.max_redeliveries.is_some_and(|most| before > most)
    }

    /// Whether messages may have to be put away.
    pub(super) fn put_away(&self) -> bool {
        self.max_redeliveries.is_some() || self.dead_letters.is_some()
    }

    /// Whether a message in this chunk, which was given back, is to be put away by this receiver.
    pub(super) fn has_to_go(&self, chunk: &Chunk<'_>) -> bool {
        self.is_worn(chunk.word.before())
            || self.dead_letters.is_some() && crate::queue::about::About::of(chunk.entry).is_rejected()
    }
}

/// The mailbox for messages that nobody wants, opened when there is one.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    domain: Domain,
    name: Name,
    format: Format,
    member: String,
    outlet: Mutex<Option<Outlet>>,
}

impl DeadLetters {
    /// Of a receiver that wishes for `wish`, with messages of at most `longest` bytes. It has to exist and to carry the same.
    pub(crate) fn new(name: &str, wish: &Wish<'_>, longest: u64) -> Result<DeadLetters, Error> {
        let name = Name::new(name)?;
        let bad =
            |given: String, allowed: String| Error::BadOption { what: "the dead letters", given, allowed };
        if name == *wish.name {
            let allowed = "another mailbox than the one that they come from";
            return Err(bad(format!("{:?}", name.as_str()), allowed.into()));
        }
        let (_, segment) = entry::open(wish.domain, &name)?;
        agree(&Wish { name: &name, ..*wish }, &segment)?;
        if !segment.permits(Right::Send) {
            return Err(segment.denied(Right::Send.doing(false)));
        }
        let room = segment.geometry.choice.max_message;
        if room < longest {
            return Err(bad(
                format!("{:?}, of messages up to {room} bytes", name.as_str()),
                format!(
                    "a mailbox that takes what this one does, up to {longest} bytes: create it with max_message"
                ),
            ));
        }
        Ok(DeadLetters {
            domain: wish.domain.clone(),
            name,
            format: wish.format.clone(),
            member: wish.member.into(),
            outlet: Mutex::new(None),
        })
    }

    /// Sends there if there is room now. If that mailbox was removed, to the one that has its name by now.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*outlet {
            match open.try_send(bytes) {
                Err(Refusal::Closed(_)) => *outlet = None,
                done => return done,
            }
        }
        let wish = Wish {
            kind: Kind::Mailbox,
            domain: &self.domain,
            name: &self.name,
            format: &self.format,
            member: &self.member,
            spin: Duration::ZERO,
            patience: Duration::ZERO,
        };
        outlet.insert(Outlet::open(&wish)?).try_send(bytes)
    }
}
