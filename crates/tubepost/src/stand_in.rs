//! Mailboxes that stand for others, which are elsewhere: what one says of itself who makes such.

use crate::domain::Domain;
use crate::domain::segment::Id;
use crate::error::Error;
use crate::format::{Format, STANDS_FOR};
use crate::mailbox::Options;
use crate::message::Message;
use crate::table::Table;
use tubepost_derive::Message;

/// The longest that says where a mailbox is.
const MAX_WHERE: usize = 64;

/// What was done on behalf of a mailbox that is elsewhere, by who hands its messages on; or, where that mailbox is, on behalf of those who send from elsewhere.
///
/// It is kept in a table of the domain, [`Carried::TABLE`], by the [`Id`] of the mailbox: who hands on writes it there about once a second while there is something to be told.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-carried-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Carried, Mailbox, Table};
///
/// let id = Mailbox::<str>::options().domain(&domain).stands_for("ovens").create("orders")?;
/// assert_eq!(domain.carried(id)?, None);
///
/// let table = Table::<[u8; 16], Carried>::options().domain(&domain).capacity(64).create(Carried::TABLE)?;
/// table.insert(&id.to_bytes(), &Carried { sent_on: 7, ..Carried::default() })?;
/// assert_eq!(domain.carried(id)?.map(|carried| carried.sent_on), Some(7));
/// # drop(table);
/// # domain.remove("orders")?;
/// # domain.remove(Carried::TABLE)?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Carried {
    /// Messages that were sent on to where the mailbox is, or came from elsewhere …
    pub sent_on: u64,
    /// … that were placed in the mailbox there …
    pub placed: u64,
    /// … and that were collected there, or answered.
    pub collected: u64,
    /// How many were sent again, for nobody had said that they were placed.
    pub sent_again: u64,
    /// How many came that had been placed before, and were passed over.
    pub duplicates: u64,
    /// How often the way there broke, and was found again.
    pub breaks: u64,
}

impl Carried {
    /// The table's name in a domain.
    pub const TABLE: &'static str = "bridge/carried";
}

impl Domain {
    /// What was done on behalf of the mailbox with this id, if somebody hands its messages on.
    ///
    /// # Errors
    ///
    /// [`Error::WrongFormat`], [`Error::Damaged`], [`Error::Denied`] if the table can't be read.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-carried2-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// assert_eq!(domain.carried(inbox.id())?, None);
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn carried(&self, mailbox: Id) -> Result<Option<Carried>, Error> {
        match Table::<[u8; 16], Carried>::options().domain(self).open(Carried::TABLE) {
            Ok(table) => table.get(&mailbox.to_bytes()),
            Err(Error::NoSuchName { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<M: Message + ?Sized> Options<M> {
    /// This mailbox stands for one that is elsewhere, which is told by `ls` and `stat`: the name of a host, say, of at most 64 bytes. It is for those who hand on what
    /// is sent here ([`keep_places`](crate::ReceiverOptions::keep_places)), and for mailboxes of the system ([`create`](Self::create)).
    ///
    /// Of capacity 0, who sends waits until its message is accepted by who hands it on. A `try_send` is refused, for nobody waits *here* to receive; at a deadline
    /// the message is withdrawn, or [`Error::Underway`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-stands-for-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    /// use tubepost::{Mailbox, Receiver, Sender};
    ///
    /// Mailbox::<str>::options().domain(&domain).stands_for("ovens").bounded(0).create("orders")?;
    /// let stat = domain.stat("orders")?;
    /// assert_eq!((stat.stands_for.as_deref(), stat.capacity), (Some("ovens"), Some(0)));
    ///
    /// let out = Sender::<str>::options().domain(&domain).open("orders")?;
    /// assert!(out.try_send("bread").is_err_and(|error| error.is_full()));
    /// assert!(out.send_timeout("bread", Duration::from_millis(5)).is_err_and(|error| error.is_timeout()));
    ///
    /// let carrier = Receiver::<str>::options().domain(&domain).keep_places().open("orders")?;
    /// let sending = std::thread::spawn(move || out.send("bread").is_ok());
    /// carrier.take()?.accept()?; // it was taken there
    /// assert!(sending.join().unwrap());
    /// # domain.remove("orders")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stands_for(mut self, place: impl Into<String>) -> Self {
        self.stands_for = Some(place.into());
        self
    }

    /// What is said of the mailbox in its segment.
    pub(crate) fn described(&self, format: &Format) -> Result<String, Error> {
        let mut text = format.encode();
        if let Some(place) = &self.stands_for {
            if place.is_empty() || place.len() > MAX_WHERE || place.chars().any(char::is_control) {
                return Err(Error::BadOption {
                    what: "where the mailbox is that this one stands for",
                    given: format!("{place:?}"),
                    allowed: format!("1 to {MAX_WHERE} bytes without control characters"),
                });
            }
            text.push(STANDS_FOR);
            text.push_str(place);
        }
        Ok(text)
    }
}
