//! What a mailbox carries, and what a receiver may copy it into.
//!
//! Three families: any plain type by value, `[u8]` and `str` with a length of their own; and a fourth one,
//! `crate::encoded`, of what has to be encoded first. The public
//! face of [`Message`] is what goes in and what comes out; the hidden part is all that a mailbox needs
//! to know of a type: its length if that is fixed, its format, its bytes, and how to get it back out
//! of a queue. Only safe code here: `memory` turns bytes into values.

use crate::error::Error;
use crate::format::Format;
use crate::memory::payload::{self, Payload, Unfit};
use crate::memory::plain::{self, ALIGN_MAX, Plain, SIZE_MAX};

pub(crate) mod sealed {
    /// Keeps `Message` to the families here, whose lengths and bytes agree.
    pub trait Sealed {}

    #[diagnostic::do_not_recommend]
    impl<T: super::Plain> Sealed for T {}
    impl Sealed for [u8] {}
    impl Sealed for str {}
}

/// A type that a mailbox carries.
///
/// | mailbox of | sent as | received as |
/// |---|---|---|
/// | a plain type `T` | `T` | `T` |
/// | `[u8]` | `&[u8]` | `Vec<u8>` |
/// | `str` | `&str` | `String` |
/// | [`Call<Q, A>`](crate::Call) | asked as `Q` is sent | as `Q` is; answered as `A` is sent |
/// | `Encoded<T>`, with the feature `serde` | `&T` | `T` |
///
/// Plain types are numbers, arrays of plain types, and structs with
/// [`#[derive(Message)]`](derive@crate::Message); see [`Plain`].
///
/// ```
/// use tubepost::{Format, Message};
///
/// #[derive(Message, Clone, Copy)]
/// #[repr(C)]
/// struct Position {
///     x: f64,
///     y: f64,
/// }
///
/// fn carries<M: Message + ?Sized>() -> String {
///     Format::of::<M>().to_string()
/// }
/// assert_eq!(carries::<Position>(), "Position { x: f64 @0, y: f64 @8 } (16 bytes, align 8)");
/// assert_eq!(carries::<[u8]>(), "bytes without a label");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be sent through a mailbox",
    note = "a mailbox carries plain data (a number, an array, a `#[repr(C)]` struct with `#[derive(Message, Clone, Copy)]`), `[u8]` or `str`; with the feature `serde` any type that serde knows, as `Encoded<T>`",
    note = "bool, char, enums, usize, references, pointers, String and Vec are not plain data: use an integer (u8 for a bool), an array, or a mailbox of `[u8]` or `str`"
)]
pub trait Message: sealed::Sealed + 'static {
    /// What a sender gives.
    type Sent<'a>;
    /// What a receiver gets.
    type Received: Send + 'static;
    /// What a [`Delivery`](crate::Delivery) shows.
    type Held: ?Sized;

    /// What was received, looked at.
    #[doc(hidden)]
    fn held(received: &Self::Received) -> &Self::Held;

    /// Size and alignment; `None` if each message has its own length.
    #[doc(hidden)]
    const FIXED: Option<(usize, usize)>;

    /// Where messages are answered: the length of an answer, if that is fixed.
    #[doc(hidden)]
    const ANSWER: Option<Option<usize>> = None;

    /// Whether only the bytes are known, whatever they mean.
    #[doc(hidden)]
    const OPAQUE: bool = false;

    /// The format if nobody declares a label.
    #[doc(hidden)]
    fn own_format() -> Format;

    /// The format with the label that the user declared, if any; an error says why that can't be.
    #[doc(hidden)]
    fn format(label: Option<&str>) -> Result<Format, String> {
        match (label, Self::FIXED) {
            (None, _) => Ok(Self::own_format()),
            (Some(label), None) => Format::labelled(label),
            (Some(_), Some(_)) => Err(format!(
                "a label is for messages of `[u8]` or `str`; this mailbox's type describes itself: {}",
                Self::own_format()
            )),
        }
    }

    /// Where the bytes of messages are that are no bytes before they are sent; nothing for those that are.
    #[doc(hidden)]
    type Desk: Default;

    /// Puts the bytes of one more message onto the desk, if they are not in itself. Whatever runs code that is not ours,
    /// or may fail, happens here: before a place is claimed.
    #[doc(hidden)]
    fn prepare(sent: &Self::Sent<'_>, desk: &mut Self::Desk) -> Result<(), Error>;

    /// The bytes to put into the queue, of a message that was the `at`th to be prepared.
    #[doc(hidden)]
    fn bytes<'s>(sent: &'s Self::Sent<'_>, desk: &'s Self::Desk, at: usize) -> &'s [u8];

    /// Whether a message can be looked at in its bytes, where they are.
    #[doc(hidden)]
    const VIEWED: bool = true;

    /// The message in these bytes, where they are; `WrongLength` if there can be none.
    #[doc(hidden)]
    fn view(bytes: &[u8]) -> Result<&Self::Held, Unfit> {
        Err(Unfit::WrongLength { length: bytes.len(), expected: 0 })
    }

    /// What a sender gives, of a message that was received; nothing if such are not just sent.
    #[doc(hidden)]
    fn sent_of(received: &Self::Received) -> Option<Self::Sent<'_>>;

    /// The message that the queue holds, copied out.
    #[doc(hidden)]
    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<Self::Received, Unfit>;

    /// The same, in a box.
    #[doc(hidden)]
    fn receive_boxed<P: Payload + ?Sized>(payload: &P) -> Result<Box<Self::Received>, Unfit> {
        Self::receive(payload).map(Box::new)
    }
}

/// Does something with the bytes of one message.
#[inline(always)]
pub(crate) fn with_bytes<M: Message + ?Sized, R, E: From<Error>>(
    sent: &M::Sent<'_>,
    act: impl FnOnce(&[u8]) -> Result<R, E>,
) -> Result<R, E> {
    let mut desk = M::Desk::default();
    M::prepare(sent, &mut desk)?;
    act(M::bytes(sent, &desk, 0))
}

impl Format {
    /// The format of a type of message: `str` has the label "str", `[u8]` the empty one.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// assert_eq!(Format::of::<u64>().to_string(), "u64 (8 bytes, align 8)");
    /// assert_eq!(Format::of::<str>().label(), Some("str"));
    /// ```
    pub fn of<M: Message + ?Sized>() -> Format {
        M::own_format()
    }
}

impl<T: Plain> Message for T {
    type Sent<'a> = T;
    type Received = T;
    type Held = T;

    fn held(received: &T) -> &T {
        received
    }

    const FIXED: Option<(usize, usize)> = {
        // A derived struct was checked where it is defined; this catches a long array.
        assert!(
            size_of::<T>() <= SIZE_MAX,
            "a message of fixed length has at most 1 MiB: split it into several messages"
        );
        assert!(align_of::<T>() <= ALIGN_MAX, "a message has an alignment of at most 64");
        Some((size_of::<T>(), align_of::<T>()))
    };

    fn own_format() -> Format {
        Format::plain::<T>()
    }

    type Desk = ();

    #[inline(always)]
    fn prepare(_: &Self::Sent<'_>, (): &mut ()) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn bytes<'s>(sent: &'s T, (): &'s (), _: usize) -> &'s [u8] {
        plain::bytes_of(sent)
    }

    fn sent_of(received: &T) -> Option<T> {
        Some(*received)
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&T, Unfit> {
        plain::value_in(bytes).ok_or_else(|| wrong_length::<T>(bytes.len()))
    }

    #[inline]
    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<T, Unfit> {
        payload::value(payload).ok_or_else(|| wrong_length::<T>(payload.len()))
    }

    #[inline]
    fn receive_boxed<P: Payload + ?Sized>(payload: &P) -> Result<Box<T>, Unfit> {
        payload::boxed(payload).ok_or_else(|| wrong_length::<T>(payload.len()))
    }
}

impl Message for [u8] {
    type Sent<'a> = &'a [u8];
    type Received = Vec<u8>;
    type Held = [u8];

    fn held(received: &Vec<u8>) -> &[u8] {
        received
    }

    const FIXED: Option<(usize, usize)> = None;

    fn own_format() -> Format {
        Format::labelled("").expect("no label is a label")
    }

    type Desk = ();

    #[inline(always)]
    fn prepare(_: &Self::Sent<'_>, (): &mut ()) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn bytes<'s>(sent: &'s &[u8], (): &'s (), _: usize) -> &'s [u8] {
        sent
    }

    fn sent_of(received: &Vec<u8>) -> Option<&[u8]> {
        Some(received)
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&[u8], Unfit> {
        Ok(bytes)
    }

    #[inline]
    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<Vec<u8>, Unfit> {
        let mut bytes = Vec::with_capacity(payload.len());
        payload::replace(payload, &mut bytes);
        Ok(bytes)
    }
}

impl Message for str {
    type Sent<'a> = &'a str;
    type Received = String;
    type Held = str;

    fn held(received: &String) -> &str {
        received
    }

    const FIXED: Option<(usize, usize)> = None;

    fn own_format() -> Format {
        Format::labelled("str").expect("a short word is a label")
    }

    type Desk = ();

    #[inline(always)]
    fn prepare(_: &Self::Sent<'_>, (): &mut ()) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn bytes<'s>(sent: &'s &str, (): &'s (), _: usize) -> &'s [u8] {
        sent.as_bytes()
    }

    fn sent_of(received: &String) -> Option<&str> {
        Some(received)
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&str, Unfit> {
        std::str::from_utf8(bytes).map_err(|_| Unfit::NotText)
    }

    #[inline]
    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<String, Unfit> {
        // Checked after the copy: what still stands in shared memory could change under the check.
        String::from_utf8(<[u8]>::receive(payload)?).map_err(|_| Unfit::NotText)
    }
}

/// What a message can be received into, so that a receiver reuses its memory.
///
/// A plain `T` for a mailbox of `T`; `[u8]`, `[u8; N]` and `Vec<u8>` for `[u8]`; `String` for `str`. A
/// vector or string loses what it held and keeps its capacity. Bytes after the message stay as they
/// were in a slice or array.
///
/// ```
/// use tubepost::{Buffer, Message};
///
/// fn holds<M: Message + ?Sized, B: Buffer<M> + ?Sized>(_: &mut B) {}
///
/// holds::<u64, _>(&mut 0);
/// holds::<[u8], _>(&mut [0; 64]);
/// holds::<[u8], _>(&mut Vec::new());
/// holds::<str, _>(&mut String::new());
/// ```
#[diagnostic::on_unimplemented(
    message = "a message of `{M}` can't be received into `{Self}`",
    note = "receive a plain type into a value of the same type, `[u8]` into a slice or a `Vec<u8>`, `str` into a `String`"
)]
pub trait Buffer<M: Message + ?Sized> {
    /// The longest message that fits; `usize::MAX` for what grows.
    #[doc(hidden)]
    fn room(&self) -> usize;

    /// Copies the message out of the queue and says how many bytes it has.
    #[doc(hidden)]
    fn fill_from<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<usize, Unfit>;
}

impl<T: Plain> Buffer<T> for T {
    #[inline]
    fn room(&self) -> usize {
        size_of::<T>()
    }

    #[inline]
    fn fill_from<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<usize, Unfit> {
        if payload::overwrite(payload, self) {
            Ok(size_of::<T>())
        } else {
            Err(wrong_length::<T>(payload.len()))
        }
    }
}

impl Buffer<[u8]> for [u8] {
    #[inline]
    fn room(&self) -> usize {
        self.len()
    }

    #[inline]
    fn fill_from<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<usize, Unfit> {
        let (length, room) = (payload.len(), self.len());
        if payload::fill(payload, self) { Ok(length) } else { Err(Unfit::TooShort { length, room }) }
    }
}

impl<const N: usize> Buffer<[u8]> for [u8; N] {
    #[inline]
    fn room(&self) -> usize {
        N
    }

    #[inline]
    fn fill_from<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<usize, Unfit> {
        self.as_mut_slice().fill_from(payload)
    }
}

impl Buffer<[u8]> for Vec<u8> {
    #[inline]
    fn room(&self) -> usize {
        usize::MAX
    }

    #[inline]
    fn fill_from<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<usize, Unfit> {
        payload::replace(payload, self);
        Ok(self.len())
    }
}

impl Buffer<str> for String {
    #[inline]
    fn room(&self) -> usize {
        usize::MAX
    }

    #[inline]
    fn fill_from<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<usize, Unfit> {
        let mut bytes = std::mem::take(self).into_bytes();
        payload::replace(payload, &mut bytes);
        let (text, outcome) = match String::from_utf8(bytes) {
            Ok(text) => {
                let length = text.len();
                (text, Ok(length))
            }
            Err(not_text) => {
                let mut bytes = not_text.into_bytes();
                bytes.clear();
                (String::from_utf8(bytes).unwrap_or_default(), Err(Unfit::NotText))
            }
        };
        *self = text;
        outcome
    }
}

#[cold]
fn wrong_length<T: Plain>(length: usize) -> Unfit {
    Unfit::WrongLength { length, expected: size_of::<T>() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tubepost_derive::Message;

    #[derive(Message, Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Reading {
        sensor: u32,
        celsius: f32,
    }

    const READING: Reading = Reading { sensor: 7, celsius: 21.5 };

    #[test]
    fn plain_value_comes_back_from_its_bytes() {
        let bytes = Reading::bytes(&READING, &(), 0);
        assert_eq!(bytes, [&7u32.to_ne_bytes()[..], &21.5f32.to_ne_bytes()].concat());
        assert_eq!(Reading::receive(bytes), Ok(READING));
        assert_eq!(Reading::FIXED, Some((8, 4)));

        // From an address that suits no number, as a message of a packed queue may have.
        let shifted = [&[0], bytes].concat();
        assert_eq!(Reading::receive(&shifted[1..]), Ok(READING));

        let many = [READING; 3];
        assert_eq!(<[Reading; 3]>::receive(<[Reading; 3]>::bytes(&many, &(), 0)), Ok(many));
    }

    #[test]
    fn message_of_nothing_has_no_bytes() {
        assert!(<()>::bytes(&(), &(), 0).is_empty());
        assert_eq!(<()>::receive(&[][..]), Ok(()));
        assert_eq!(<()>::FIXED, Some((0, 1)));
        assert_eq!(<[u8]>::receive(&[][..]), Ok(vec![]));
        assert_eq!(str::receive(&[][..]), Ok(String::new()));
    }

    #[test]
    fn plain_value_of_another_length_is_refused_and_the_buffer_left_alone() {
        let wrong = Err(Unfit::WrongLength { length: 7, expected: 8 });
        assert_eq!(Reading::receive(&[0; 7][..]), wrong);
        let mut kept = READING;
        assert_eq!(kept.fill_from(&[0; 7][..]), wrong.map(|_: Reading| 0));
        assert_eq!(kept, READING);
        assert_eq!(Buffer::<Reading>::fill_from(&mut kept, &[0; 8][..]), Ok(8));
        assert_eq!(kept, Reading { sensor: 0, celsius: 0.0 });
    }

    #[test]
    fn vector_is_allocated_once_and_reused() {
        let mut bytes = <[u8]>::receive(b"twelve bytes".as_slice()).unwrap();
        assert_eq!((bytes.as_slice(), bytes.capacity()), (&b"twelve bytes"[..], 12));
        let memory = bytes.as_ptr();
        assert_eq!(Buffer::<[u8]>::fill_from(&mut bytes, &b"three"[..]), Ok(5));
        assert_eq!((bytes.as_slice(), bytes.as_ptr()), (&b"three"[..], memory));
        assert_eq!(Buffer::<[u8]>::room(&bytes), usize::MAX);
    }

    #[test]
    fn slice_too_short_is_refused_before_anything_is_copied() {
        let mut room = *b"....";
        assert_eq!(Buffer::<[u8]>::room(&room), 4);
        let unfit = Err(Unfit::TooShort { length: 5, room: 4 });
        assert_eq!(Buffer::<[u8]>::fill_from(&mut room, &b"three"[..]), unfit);
        assert_eq!(Buffer::<[u8]>::fill_from(&mut room[..], &b"three"[..]), unfit);
        assert_eq!(&room, b"....");
        assert_eq!(Buffer::<[u8]>::fill_from(&mut room, &b"two"[..]), Ok(3));
        assert_eq!(&room, b"two.");
    }

    #[test]
    fn text_is_checked_and_a_string_keeps_its_memory() {
        assert_eq!(str::receive("né".as_bytes()), Ok("né".to_owned()));
        assert_eq!(str::receive(&[0xff][..]), Err(Unfit::NotText));

        let mut text = String::with_capacity(64);
        let memory = text.as_ptr();
        assert_eq!(text.fill_from("né".as_bytes()), Ok(3));
        assert_eq!(text, "né");
        assert_eq!(text.fill_from(&[b'a', 0xff][..]), Err(Unfit::NotText));
        assert_eq!((text.as_str(), text.as_ptr(), text.capacity()), ("", memory, 64));
    }

    #[test]
    fn label_is_for_variable_length_only() {
        assert_eq!(<[u8]>::format(Some("jobs")).unwrap().label(), Some("jobs"));
        assert_eq!(str::format(None).unwrap().label(), Some("str"));
        assert_eq!(u64::format(None).unwrap(), Format::of::<u64>());
        assert!(u64::format(Some("jobs")).unwrap_err().contains("u64 (8 bytes, align 8)"));
    }
}
