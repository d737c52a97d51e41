//! Asking for a mailbox without a capacity.

use crate::mailbox::Options;
use crate::message::Message;

impl<M: Message + ?Sized> Options<M> {
    /// As many messages can wait as there is memory for: a send never waits for room.
    ///
    /// Memory comes by segments of up to 1024 places, before a message needs it: a sender that finds no memory, or the
    /// [`ceiling`](Self::ceiling) reached, is told so at once and has its message back. A place is the message and
    /// 8 bytes, rounded up to 64, and 16 bytes beside it; 272 bytes where lengths vary, for a message of up to 240,
    /// and a longer one has memory of its own besides. So a million waiting messages of 8 bytes occupy 80 MB, a million short
    /// texts 272 MB, and an empty mailbox three segments at most.
    ///
    /// Segments whose messages were all received serve those to come. What nobody needs goes back to the system when a receiver
    /// has waited in vain for one to three seconds, and by [`Domain::gc`](crate::Domain::gc); a word for each segment
    /// there has been since the beginning, and 128 bytes for each that there was at one time, stay.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-unbounded-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Sender, TrySendError};
    ///
    /// let options = Mailbox::<u64>::options().domain(&domain).unbounded().ceiling(1 << 20);
    /// let inbox = options.own("numbers")?;
    /// assert_eq!((inbox.capacity(), inbox.is_full()), (None, false));
    ///
    /// let out = Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// let mut sent = 0;
    /// let error = loop {
    ///     match out.try_send(sent) {
    ///         Ok(()) => sent += 1,
    ///         Err(error) => break error,
    ///     }
    /// };
    /// assert!(sent > 10_000 && matches!(error, TrySendError::Failed(number, tubepost::Error::AtCeiling { .. }) if number == sent));
    /// assert!(inbox.try_iter().eq(0..sent));
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unbounded(mut self) -> Self {
        self.capacity = None;
        self.chosen = true;
        self
    }

    /// So many places in each segment, for tests that want to see the ends of them.
    #[doc(hidden)]
    pub fn segments_of(mut self, places: u64) -> Self {
        self.places = places;
        self
    }
}
