//! Questions and answers: a mailbox whose messages are answered.

use crate::delivery::Delivery;
use crate::error::{CallError, Error};
use crate::format::Format;
use crate::memory::payload::{Front, Payload, Unfit};
use crate::message::{Message, sealed, with_bytes};
use crate::queue::calls::Address;
use crate::sender::Sender;
use crate::strategy::shared::calls::Unanswered;
use crate::strategy::{CALLS, Refusal};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// What a mailbox carries whose messages are answered: questions of one type, answers of another.
///
/// There is no value of this type. Who owns such a mailbox, or receives from it, takes the questions in hand and
/// [`reply`](Delivery::reply)s. Others [`call`](Sender::call). Any number of calls are under way at one time; each
/// answer finds its caller, wherever that is.
///
/// | | the caller is told | who answers is told |
/// |---|---|---|
/// | the owner ends, or the mailbox is removed | [`CallError::Closed`] | |
/// | one of several receivers ends with the question in hand | nothing: another gets the question | |
/// | the question is consumed without an answer, or with one that can't be sent | [`CallError::Unanswered`] | [`Error::TooLong`], [`Error::NotEncodable`] |
/// | who has the question holds it for longer than its `hold_max`, and another gets it | the answer of that other | [`Error::HoldExpired`] |
/// | the caller's deadline passes, or it ends | [`CallError::Timeout`] | [`Error::NotAwaited`] |
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-call-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Call, Mailbox, Sender};
///
/// // In the process that knows: asked a text, it answers a number.
/// let questions = Mailbox::<Call<str, u64>>::options().domain(&domain).own("length")?;
/// let server = std::thread::spawn(move || {
///     let question = questions.take()?;
///     let length = question.chars().count() as u64;
///     question.reply(length)
/// });
///
/// // In any other.
/// let ask = Sender::<Call<str, u64>>::options().domain(&domain).open("length")?;
/// assert_eq!(ask.call("Grüße")?, 5);
/// # server.join().unwrap()?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Call<Q: Message + ?Sized, A: Message + ?Sized> {
    never: Infallible,
    _of: PhantomData<fn(Box<Q>) -> Box<A>>,
}

impl<Q: Message + ?Sized, A: Message + ?Sized> std::fmt::Debug for Call<Q, A> {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.never {}
    }
}

impl<Q: Message + ?Sized, A: Message + ?Sized> sealed::Sealed for Call<Q, A> {}

impl<Q: Message + ?Sized, A: Message + ?Sized> Message for Call<Q, A> {
    /// Nothing: questions are not just sent, see [`Sender::call`].
    type Sent<'a> = Infallible;
    type Received = Q::Received;
    type Held = Q::Held;

    const FIXED: Option<(usize, usize)> = Q::FIXED;
    const ANSWER: Option<Option<usize>> = Some(match A::FIXED {
        Some((size, _)) => Some(size),
        None => None,
    });

    fn held(received: &Q::Received) -> &Q::Held {
        Q::held(received)
    }

    fn own_format() -> Format {
        Format::answered(Q::own_format(), A::own_format())
    }

    /// The label is for those of the two that are of variable length.
    fn format(label: Option<&str>) -> Result<Format, String> {
        let of = |fixed: bool| label.filter(|_| !fixed);
        let (question, answer) = (Q::FIXED.is_some(), A::FIXED.is_some());
        if label.is_some() && question && answer {
            return Q::format(label); // which says why not
        }
        Ok(Format::answered(Q::format(of(question))?, A::format(of(answer))?))
    }

    type Desk = ();

    fn prepare(sent: &Infallible, (): &mut ()) -> Result<(), Error> {
        match *sent {}
    }

    fn bytes<'s>(sent: &'s Infallible, (): &'s (), _: usize) -> &'s [u8] {
        match *sent {}
    }

    const VIEWED: bool = Q::VIEWED;

    fn sent_of(_: &Q::Received) -> Option<Infallible> {
        None
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&Q::Held, Unfit> {
        let (length, expected) = (bytes.len(), Address::BYTES);
        let (question, _) =
            bytes.split_last_chunk::<{ Address::BYTES }>().ok_or(Unfit::WrongLength { length, expected })?;
        Q::view(question)
    }

    #[inline]
    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<Q::Received, Unfit> {
        let length = payload.len();
        let question = length.checked_sub(Address::BYTES);
        let question = question.ok_or(Unfit::WrongLength { length, expected: Address::BYTES })?;
        Q::receive(&Front::new(payload, question))
    }
}

impl<Q: Message + ?Sized, A: Message + ?Sized> Sender<Call<Q, A>> {
    /// Asks, and waits for the answer, as long as it takes.
    ///
    /// # Errors
    ///
    /// [`CallError::Unanswered`] if the question was received and there is no answer; [`CallError::Closed`] when the owner
    /// is gone, or the mailbox was removed. The question comes back.
    pub fn call<'a>(&self, question: Q::Sent<'a>) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        self.call_until(question, None)
    }

    /// Asks, and waits for the answer, for at most so long. After that who replies is told that nobody waits.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call); [`CallError::Timeout`] if there was no answer in time. The question may still be in the queue.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-call-timeout-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Call, CallError, Error, Mailbox, Sender};
    ///
    /// let questions = Mailbox::<Call<u64, u64>>::options().domain(&domain).own("slow")?;
    /// let ask = Sender::<Call<u64, u64>>::options().domain(&domain).open("slow")?;
    /// let asked = ask.call_timeout(7, std::time::Duration::from_millis(1));
    /// assert!(matches!(asked, Err(CallError::Timeout(7))));
    ///
    /// let question = questions.take()?;
    /// assert!(!question.is_awaited());
    /// assert!(matches!(question.reply(49), Err(Error::NotAwaited { .. })));
    /// # drop(questions);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_timeout<'a>(
        &self,
        question: Q::Sent<'a>,
        timeout: Duration,
    ) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        self.call_until(question, Instant::now().checked_add(timeout))
    }

    /// Asks, and waits for the answer, until then at most.
    ///
    /// # Errors
    ///
    /// As for [`call_timeout`](Self::call_timeout).
    pub fn call_deadline<'a>(
        &self,
        question: Q::Sent<'a>,
        deadline: Instant,
    ) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        self.call_until(question, Some(deadline))
    }

    #[inline]
    fn call_until<'a>(
        &self,
        question: Q::Sent<'a>,
        deadline: Option<Instant>,
    ) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        let call =
            |bytes: &[u8]| self.outlet().shared(CALLS)?.call(bytes, deadline, |answer| A::receive(answer));
        self.answered(with_bytes::<Q, _, _>(&question, call), question)
    }

    /// What came of a question.
    #[inline]
    pub(crate) fn answered<'a>(
        &self,
        done: Result<Result<A::Received, Unfit>, Unanswered>,
        question: Q::Sent<'a>,
    ) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        match done {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(unfit)) => Err(CallError::Failed(question, self.outlet().lender().bad_answer(unfit))),
            Err(Unanswered::Dropped) => Err(CallError::Unanswered(question)),
            Err(Unanswered::Closed(closed, fate)) => Err(CallError::Closed(question, closed, fate)),
            Err(Unanswered::Refused(Refusal::Failed(error))) => Err(CallError::Failed(question, *error)),
            Err(Unanswered::Refused(_)) => Err(CallError::Timeout(question)),
        }
    }
}

impl<Q: Message + ?Sized, A: Message + ?Sized> Delivery<Call<Q, A>> {
    /// Answers the question, which is consumed by that.
    ///
    /// # Errors
    ///
    /// [`Error::NotAwaited`] if the caller gave up, or is dead: then the question is consumed all the same.
    /// [`Error::TooLong`] or [`Error::NotEncodable`] if no such answer can be: then the question is consumed, and the
    /// caller told that there is none. [`Error::HoldExpired`] if this receiver has a `hold_max` and another has the question
    /// by now: the caller gets nothing from here. [`Error::NotHeld`] if it was not in this receiver's hand any more.
    /// Otherwise the question goes back to the queue: [`Error::NoMemory`], [`Error::AtCeiling`] or
    /// [`Error::TooManyMessages`] for the answer, [`Error::Busy`] if another receiver is just answering.
    #[inline]
    pub fn reply(mut self, answer: A::Sent<'_>) -> Result<(), Error> {
        let done = with_bytes::<A, _, _>(&answer, |bytes| match self.hand.take() {
            Some(hand) => self.inlet.reply(hand, self.address, bytes),
            None => Ok(()),
        });
        if done.is_err()
            && let Some(hand) = self.hand.take()
        {
            self.inlet.accept_unanswered(hand, self.address)?; // it can't be encoded, nor could it the next time
        }
        done
    }

    /// Whether the caller still waits for the answer. If it does not, nobody misses it.
    pub fn is_awaited(&self) -> bool {
        self.inlet.is_awaited(self.address)
    }
}
