//! Messages of a type that this program does not know: for those that hand on what others agreed on.

use crate::call::Call;
use crate::error::Error;
use crate::format::Format;
use crate::mailbox::{Common, Options};
use crate::memory::payload::{self, Payload, Unfit};
use crate::message::{Message, sealed};
use crate::receiver::ReceiverOptions;
use crate::sender::SenderOptions;
use std::convert::Infallible;

/// A message of which only the bytes are known, for programs that hand messages on: bridges, recorders, routers.
///
/// What such a mailbox carries is a [`Format`] that was read elsewhere, given by `carrying`: all checks are as ever, and who
/// opens the mailbox with the type itself finds what it expects. Without it the format is that of `[u8]`. Where the format is of a plain type, each message
/// has exactly its length.
///
/// An [`Inbox<Opaque>`](crate::Inbox) receives from links of any format whose messages have lengths of their own.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-opaque-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Error, Format, Mailbox, Opaque, Sender, TrySendError};
///
/// let inbox = Mailbox::<u64>::options().domain(&domain).own("numbers")?;
///
/// // A program that knows of the mailbox only what `stat` says.
/// let stat = domain.stat("numbers")?;
/// let format = Format::decode(stat.variable, &stat.format)?;
/// let out = Sender::<Opaque>::options().domain(&domain).carrying(format).open("numbers")?;
/// out.send(&7u64.to_ne_bytes()).expect("room");
/// assert_eq!(inbox.recv()?, 7);
/// let short = out.try_send(b"seven");
/// assert!(matches!(short, Err(TrySendError::Failed(_, Error::WrongLength { length: 5, expected: 8 }))));
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Opaque {
    _never: Infallible,
}

impl sealed::Sealed for Opaque {}

impl Message for Opaque {
    type Sent<'a> = &'a [u8];
    type Received = Vec<u8>;
    type Held = [u8];

    const FIXED: Option<(usize, usize)> = None;
    const OPAQUE: bool = true;

    fn held(received: &Vec<u8>) -> &[u8] {
        received
    }

    fn own_format() -> Format {
        Format::of::<[u8]>()
    }

    type Desk = ();

    fn prepare(_: &Self::Sent<'_>, (): &mut ()) -> Result<(), Error> {
        Ok(())
    }

    fn bytes<'s>(sent: &'s &[u8], (): &'s (), _: usize) -> &'s [u8] {
        sent
    }

    fn sent_of(received: &Vec<u8>) -> Option<&[u8]> {
        Some(received)
    }

    fn view(bytes: &[u8]) -> Result<&[u8], Unfit> {
        Ok(bytes)
    }

    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<Vec<u8>, Unfit> {
        let mut bytes = Vec::with_capacity(payload.len());
        payload::replace(payload, &mut bytes);
        Ok(bytes)
    }
}

/// Questions and answers of types that are not known here: see [`Call`].
type Asked = Call<Opaque, Opaque>;

impl Options<Asked> {
    /// What is asked and answered there, in the words of those who know.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-opaque-call-options-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Call, Format, Mailbox, Opaque, Sender};
    ///
    /// let options = Mailbox::<Call<Opaque, Opaque>>::options().domain(&domain);
    /// let desk = options.carrying(Format::of::<Call<str, u64>>()).own("length")?;
    /// let asking = std::thread::spawn({
    ///     let ask = Sender::<Call<str, u64>>::options().domain(&domain).open("length")?;
    ///     move || ask.call("seven")
    /// });
    /// let question = desk.take()?;
    /// assert_eq!(&*question, b"seven");
    /// // Kept as long as it takes: somebody else knows the answer.
    /// question.reply(&5u64.to_ne_bytes())?;
    /// assert_eq!(asking.join().unwrap()?, 5);
    /// # drop(desk);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn carrying(mut self, format: Format) -> Self {
        self.common.format = Some(format);
        self
    }
}

impl SenderOptions<Asked> {
    /// What is asked and answered there, in the words of those who know.
    ///
    /// ```
    /// use tubepost::{Call, Format, Opaque, Sender};
    ///
    /// let options = Sender::<Call<Opaque, Opaque>>::options().carrying(Format::of::<Call<str, u64>>());
    /// ```
    pub fn carrying(mut self, format: Format) -> Self {
        self.common.format = Some(format);
        self
    }
}

impl ReceiverOptions<Asked> {
    /// What is asked and answered there, in the words of those who know.
    ///
    /// ```
    /// use tubepost::{Call, Format, Opaque, Receiver};
    ///
    /// let options = Receiver::<Call<Opaque, Opaque>>::options().carrying(Format::of::<Call<str, u64>>());
    /// ```
    pub fn carrying(mut self, format: Format) -> Self {
        self.common.format = Some(format);
        self
    }
}

impl Options<Opaque> {
    /// What its messages are, in the words of those who know.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-opaque-options-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Format, Mailbox, Opaque, Receiver, Sender};
    ///
    /// Mailbox::<Opaque>::options().domain(&domain).carrying(Format::of::<u64>()).create("numbers")?;
    /// Sender::<u64>::options().domain(&domain).open("numbers")?.send(7)?;
    /// assert_eq!(Receiver::<u64>::options().domain(&domain).open("numbers")?.recv()?, 7);
    /// # domain.remove("numbers")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn carrying(mut self, format: Format) -> Self {
        self.common.format = Some(format);
        self
    }
}

impl SenderOptions<Opaque> {
    /// What its messages are, in the words of those who know.
    ///
    /// ```
    /// use tubepost::{Format, Opaque, Sender};
    ///
    /// let options = Sender::<Opaque>::options().carrying(Format::of::<u64>());
    /// ```
    pub fn carrying(mut self, format: Format) -> Self {
        self.common.format = Some(format);
        self
    }
}

impl ReceiverOptions<Opaque> {
    /// What its messages are, in the words of those who know.
    ///
    /// ```
    /// use tubepost::{Format, Opaque, Receiver};
    ///
    /// let options = Receiver::<Opaque>::options().carrying(Format::of::<u64>());
    /// ```
    pub fn carrying(mut self, format: Format) -> Self {
        self.common.format = Some(format);
        self
    }
}

impl Common {
    /// The format that was given, if messages of `M` can be of it.
    pub(crate) fn given_format<M: Message + ?Sized>(&self) -> Option<Result<Format, Error>> {
        let format = self.format.as_ref()?;
        let possible = format.answer().is_some() == M::ANSWER.is_some()
            && (format.is_variable() || format.fixed().is_some());
        Some(if possible {
            Ok(format.clone())
        } else {
            Err(Error::BadOption {
                what: "the format",
                given: format.to_string(),
                allowed: "of `Opaque` what single messages carry, of `Call<Opaque, Opaque>` what is answered; no table".into(),
            })
        })
    }
}
