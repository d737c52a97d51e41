//! What a receiver does with messages that come back again and again, or take too long: its options.

use crate::error::Error;
use crate::mailbox::Options;
use crate::message::Message;
use crate::receiver::ReceiverOptions;
use crate::strategy::shared::attach::Wish;
use crate::strategy::shared::rules::{DeadLetters, Rules};
use std::time::Duration;

/// What was chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handling {
    max_redeliveries: Option<u32>,
    dead_letter: Option<String>,
    hold_max: Option<Duration>,
    keep_places: bool,
}

impl Handling {
    /// The rules for a receiver of a mailbox whose messages have up to `longest` bytes.
    pub(crate) fn rules(&self, wish: &Wish<'_>, longest: u64) -> Result<Rules, Error> {
        let name = self.dead_letter.as_deref();
        let letters = name.map(|name| DeadLetters::new(name, wish, longest)).transpose()?;
        if self.keep_places && self.hold_max.is_some() {
            return Err(Error::BadOption {
                what: "hold_max",
                given: "one for messages that keep their places".into(),
                allowed: "either of the two: what keeps its place is not taken out of a receiver's hand"
                    .into(),
            });
        }
        let rules = Rules::new(self.max_redeliveries, self.hold_max, letters)?;
        Ok(Rules { keeps_places: self.keep_places, ..rules })
    }

    /// They are a receiver's, and no mailbox's.
    /// Whether messages are held for so long only.
    pub(crate) fn promises(&self) -> bool {
        self.hold_max.is_some()
    }

    pub(crate) fn none_here(&self) -> Result<(), Error> {
        let given = self.max_redeliveries.map(|most| ("max_redeliveries", most.to_string()));
        let given =
            given.or_else(|| self.dead_letter.as_ref().map(|name| ("dead_letter", format!("{name:?}"))));
        let given = given.or_else(|| self.hold_max.map(|time| ("hold_max", format!("{time:?}"))));
        let allowed =
            "each receiver of a mailbox that the system owns chooses for itself: Receiver::options()";
        match given {
            Some((what, given)) => Err(Error::BadOption { what, given, allowed: allowed.into() }),
            None => Ok(()),
        }
    }
}

impl<M: Message + ?Sized> ReceiverOptions<M> {
    /// How often a message that came back is delivered again: with 3, it is delivered at most four times. This receiver
    /// gets none that came back more often: it moves it to its [`dead_letter`](Self::dead_letter) mailbox, or, without one,
    /// discards it. By default there is no limit. At most 254.
    ///
    /// It is this receiver's rule, for all its ways to receive. Others of the same mailbox have their own.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-redeliveries-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Receiver, Sender};
    ///
    /// Mailbox::<str>::options().domain(&domain).create("jobs")?;
    /// let worker = Receiver::<str>::options().domain(&domain).max_redeliveries(1).open("jobs")?;
    /// Sender::<str>::options().domain(&domain).open("jobs")?.send("too hard")?;
    /// drop(worker.take()?);
    /// drop(worker.take()?);
    /// assert!(worker.try_take().is_err());
    /// assert_eq!(domain.stat("jobs")?.discarded, 1);
    /// # domain.remove("jobs")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_redeliveries(mut self, most: u32) -> Self {
        self.handling.max_redeliveries = Some(most);
        self
    }

    /// The mailbox for messages that nobody wants: those that came back more often than
    /// [`max_redeliveries`](Self::max_redeliveries), that were [rejected](crate::Delivery::reject), or that are no messages of this
    /// type (text that isn't UTF-8). It is another one of the same domain, has to exist, and to carry the same, as long.
    ///
    /// A message is sent there and then consumed here: if this process dies in between it is moved once more, so it may
    /// be there twice. Its sender is then this receiver. While there is no room it stays here, is not delivered, and is in
    /// nobody's way; it is looked at again within a second or so, by a receiver that waits.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-dead-letter-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Error, Mailbox, Receiver};
    ///
    /// Mailbox::<[u8]>::options().domain(&domain).create("jobs")?;
    /// let options = Receiver::<[u8]>::options().domain(&domain).max_redeliveries(3).dead_letter("dead");
    /// assert!(matches!(options.open("jobs"), Err(Error::NoSuchName { .. })));
    ///
    /// Mailbox::<[u8]>::options().domain(&domain).create("dead")?;
    /// let worker = options.open("jobs")?;
    /// # drop(worker);
    /// # domain.remove("jobs")?;
    /// # domain.remove("dead")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn dead_letter(mut self, name: impl Into<String>) -> Self {
        self.handling.dead_letter = Some(name.into());
        self
    }

    /// For how long this receiver holds a message if others wait for it. A [`Delivery`](crate::Delivery) that is held for longer,
    /// while another receiver has nothing to do, is delivered again, to that one, as if this one had died; and what this one
    /// [accepts](crate::Delivery::accept) then gives [`Error::HoldExpired`]. By default there is no limit.
    ///
    /// It is never less than that; and more until somebody waits, who counts from when it first saw the message in this
    /// hand. Also of a process that is stopped (SIGSTOP) messages come back in this way. What the late one still reads stays as it is
    /// until it lets go of it. To a question it can't [reply](crate::Delivery::reply) any more: the caller gets the answer of who has it now.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-hold-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    /// use tubepost::{Error, Mailbox, Receiver, Sender};
    ///
    /// Mailbox::<str>::options().domain(&domain).create("jobs")?;
    /// let options = Receiver::<str>::options().domain(&domain).hold_max(Duration::from_millis(20));
    /// let (slow, quick) = (options.open("jobs")?, options.open("jobs")?);
    /// Sender::<str>::options().domain(&domain).open("jobs")?.send("resize 7.png")?;
    ///
    /// let late = slow.take()?;
    /// let job = quick.take()?; // waits, and gets it
    /// assert_eq!((&*job, job.redelivered()), ("resize 7.png", 1));
    /// assert!(matches!(late.accept(), Err(Error::HoldExpired { .. })));
    /// job.accept()?;
    /// # domain.remove("jobs")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold_max(mut self, longest: Duration) -> Self {
        self.handling.hold_max = Some(longest);
        self
    }
}

impl<M: Message + ?Sized> ReceiverOptions<M> {
    /// What this receiver has in hand keeps its place in the mailbox until it is accepted: of `n` places so many fewer are
    /// free. It is for those who receive on behalf of somebody else, so that not more than `n` wait for both together, and who sends by
    /// [`send_collected`](crate::Sender::send_collected) waits until it is accepted. By default a place is free as soon as its message is in somebody's hand.
    ///
    /// Places become free in the order of the mailbox: one that is accepted before those in front of it helps nobody so far. Where nothing waits, and in files,
    /// this changes nothing.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-keep-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Receiver, Sender};
    ///
    /// Mailbox::<str>::options().domain(&domain).bounded(1).create("outgoing")?;
    /// let carrier = Receiver::<str>::options().domain(&domain).keep_places().open("outgoing")?;
    /// let out = Sender::<str>::options().domain(&domain).open("outgoing")?;
    ///
    /// out.send("a letter")?;
    /// let letter = carrier.take()?;
    /// assert!(out.try_send("another").is_err_and(|error| error.is_full()));
    /// letter.accept()?; // it arrived
    /// out.try_send("another")?;
    /// # domain.remove("outgoing")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_places(mut self) -> Self {
        self.handling.keep_places = true;
        self
    }
}

impl<M: Message + ?Sized> Options<M> {
    /// Of the receiver that [`own`](Self::own) gives: as [`ReceiverOptions::max_redeliveries`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-own-redeliveries-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).max_redeliveries(0).own("numbers")?;
    /// tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?.send(7)?;
    /// drop(inbox.take()?);
    /// assert!(inbox.try_recv().is_err());
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_redeliveries(mut self, most: u32) -> Self {
        self.handling.max_redeliveries = Some(most);
        self
    }

    /// Of the receiver that [`own`](Self::own) gives: as [`ReceiverOptions::dead_letter`].
    ///
    /// ```
    /// let options = tubepost::Mailbox::<u64>::options().max_redeliveries(3).dead_letter("dead");
    /// ```
    pub fn dead_letter(mut self, name: impl Into<String>) -> Self {
        self.handling.dead_letter = Some(name.into());
        self
    }

    /// Of the receiver that [`own`](Self::own) gives, for its threads among each other: as [`ReceiverOptions::hold_max`].
    ///
    /// ```
    /// let options = tubepost::Mailbox::<u64>::options().hold_max(std::time::Duration::from_secs(30));
    /// ```
    pub fn hold_max(mut self, longest: Duration) -> Self {
        self.handling.hold_max = Some(longest);
        self
    }
}
