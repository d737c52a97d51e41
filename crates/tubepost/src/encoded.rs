//! Messages of any type that serde knows, encoded as [postcard](https://postcard.jamesmunns.com).
//!
//! postcard writes no names and no types: bytes of one type often are an encoding of another one as well. So the format that both
//! sides agree on has to say which type it is: the user's label; or, without one, what serde says of the type, its
//! name and those of its fields or variants. (Not the compiler's name of the type, which may be another one with each version.)
//! It says nothing of the types *in* it, so a label with a version is better for what is going to change.
//!
//! A message is encoded before a place is claimed, into memory that the thread keeps for the next one: its desk. So a send
//! allocates nothing in the long run, and a type that panics in its `serialize` leaves nothing behind. What was received is copied to
//! the desk first, too: whatever decodes must not see the bytes change. It is decoded while the message is in the
//! receiver's hand, so that what can't be decoded is known before it is consumed; a panic in that is such a message.

use crate::error::Error;
use crate::format::{Format, LABEL_MAX};
use crate::memory::payload::{self, Payload, Unfit};
use crate::message::{Message, sealed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod shown;

/// A mailbox of this carries values of `T`, any type that serde knows, encoded as postcard.
///
/// There are no values of `Encoded` itself: it is sent as `&T` and received as `T`. The format that both sides have to
/// agree on is "postcard" with the label that they declare ([`Options::format`](crate::Options::format)); without one, with the name
/// that serde has for `T` and the names of its fields or variants, as far as 255 bytes go. Fields of the same names and other
/// types make the same format: a label says what was meant.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-encoded-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use serde::{Deserialize, Serialize};
/// use tubepost::{Encoded, Format, Mailbox, Sender};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// enum Job {
///     Resize { path: String, width: Option<u32> },
///     Stop,
/// }
///
/// let inbox = Mailbox::<Encoded<Job>>::options().domain(&domain).format("jobs/v2").own("jobs")?;
/// let out = Sender::<Encoded<Job>>::options().domain(&domain).format("jobs/v2").open("jobs")?;
/// let job = Job::Resize { path: "7.png".into(), width: Some(640) };
/// out.send(&job)?;
/// assert_eq!(inbox.recv()?, job);
///
/// assert_eq!(Format::of::<Encoded<Job>>().label(), Some("postcard: Job { Resize, Stop }"));
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
///
/// A message as long as the mailbox's longest, 1 MiB by default, can be sent; one that can't be encoded comes back with
/// [`Error::NotEncodable`]. What is received and is no encoding of `T` is consumed, and is [`Error::NotDecodable`]. While it decodes,
/// `T` must not receive from the same [`Receiver`](crate::Receiver).
pub struct Encoded<T>(PhantomData<fn() -> T>, Never);

/// Has no values.
enum Never {}

impl<T> sealed::Sealed for Encoded<T> {}

/// What the format text begins with.
const ENCODING: &str = "postcard: ";
/// More memory than this a thread does not keep.
const KEPT: usize = 1 << 20;

/// The bytes of messages, one after the other, and where each ends.
type Memory = (Vec<u8>, Vec<usize>);

thread_local! {
    static SPARE: Cell<Memory> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// Where messages lie that are about to be sent, or one that was received: in what the thread kept for that, and gets back.
#[doc(hidden)]
#[derive(Debug)]
pub struct Desk(Memory);

impl Default for Desk {
    fn default() -> Desk {
        // Nothing is kept while a message is encoded that sends another one, or while a thread ends.
        Desk(SPARE.try_with(Cell::take).unwrap_or_default())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let (mut bytes, mut ends) = std::mem::take(&mut self.0);
        if bytes.capacity() <= KEPT {
            bytes.clear();
            ends.clear();
            let _ = SPARE.try_with(|spare| spare.set((bytes, ends)));
        }
    }
}

/// Where postcard writes: at the end of the desk.
struct ToDesk<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for ToDesk<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Message for Encoded<T> {
    const VIEWED: bool = false; // it has to be decoded

    fn sent_of(received: &T) -> Option<&T> {
        Some(received)
    }

    type Sent<'a> = &'a T;
    type Received = T;
    type Held = T;

    fn held(received: &T) -> &T {
        received
    }

    const FIXED: Option<(usize, usize)> = None;

    fn own_format() -> Format {
        let mut text = format!("{ENCODING}{}", shown::shown::<T>());
        text.retain(|c| !c.is_control());
        while text.len() > LABEL_MAX {
            text.pop();
        }
        Format::labelled(&text).expect("just made to be one")
    }

    fn format(label: Option<&str>) -> Result<Format, String> {
        label.map_or_else(|| Ok(Self::own_format()), |label| Format::labelled(&format!("{ENCODING}{label}")))
    }

    type Desk = Desk;

    fn prepare(sent: &&T, desk: &mut Desk) -> Result<(), Error> {
        let (bytes, ends) = &mut desk.0;
        postcard::serialize_with_flavor(*sent, ToDesk(bytes))
            .map_err(|error| Error::NotEncodable { why: why(&error) })?;
        ends.push(bytes.len());
        Ok(())
    }

    #[inline]
    fn bytes<'s>(_: &'s &T, desk: &'s Desk, at: usize) -> &'s [u8] {
        let (bytes, ends) = &desk.0;
        let from = at.checked_sub(1).map_or(0, |before| ends[before]);
        &bytes[from..ends[at]]
    }

    fn receive<P: Payload + ?Sized>(payload: &P) -> Result<T, Unfit> {
        let mut desk = Desk::default();
        let (bytes, _) = &mut desk.0;
        payload::replace(payload, bytes);
        decode(bytes).map_err(|why| Unfit::NotDecodable { length: bytes.len(), why })
    }
}

/// The value, if it is one and nothing else.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, &'static str> {
    // Nothing that it could leave half done is ours: it has only these bytes.
    let decoded = catch_unwind(AssertUnwindSafe(|| postcard::take_from_bytes::<T>(bytes)));
    match decoded {
        Ok(Ok((value, []))) => Ok(value),
        Ok(Ok(_)) => Err("there are more bytes than it has"),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err("its `deserialize` panicked"),
    }
}

fn why(error: &postcard::Error) -> &'static str {
    use postcard::Error::*;
    match error {
        WontImplement => {
            "postcard does not tell types by itself (`serde(untagged)`, `serde(flatten)` need that)"
        }
        SerializeSeqLengthUnknown => "the length of a sequence or map has to be known before",
        DeserializeUnexpectedEnd => "it ends too early",
        DeserializeBadVarint => "a number is too long",
        DeserializeBadBool => "a bool is neither 0 nor 1",
        DeserializeBadChar => "a char is none",
        DeserializeBadUtf8 => "text is not valid UTF-8",
        DeserializeBadOption => "an Option is neither 0 nor 1",
        DeserializeBadEnum => "a variant does not exist",
        SerdeSerCustom | SerdeDeCustom => "the type itself refused it",
        CollectStrError => "its `Display` failed",
        _ => "postcard refused it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Job {
        path: String,
        sizes: Vec<Option<u32>>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Job")]
    struct Renamed {
        path: String,
        sizes: Vec<Option<u32>>,
    }

    #[derive(Serialize, Deserialize)]
    struct Metres(f64);

    #[test]
    fn default_format_is_what_serde_says() {
        let label = |format: Format| format.label().map(str::to_owned).expect("of variable length");
        assert_eq!(label(Format::of::<Encoded<Job>>()), "postcard: Job { path, sizes }");
        assert_eq!(Format::of::<Encoded<Renamed>>(), Format::of::<Encoded<Job>>());
        assert_eq!(label(Format::of::<Encoded<Metres>>()), "postcard: Metres");
        assert_eq!(label(Format::of::<Encoded<(u8, i64)>>()), "postcard: tuple of 2");
        assert_eq!(
            label(Format::of::<Encoded<Option<Box<Job>>>>()),
            "postcard: option of Job { path, sizes }"
        );
        assert_eq!(label(Format::of::<Encoded<BTreeMap<u8, Job>>>()), "postcard: map");
        assert_eq!(label(Encoded::<Job>::format(Some("jobs/v2")).unwrap()), "postcard: jobs/v2");
        assert!(Encoded::<Job>::format(Some(&"x".repeat(LABEL_MAX))).is_err());
    }

    #[test]
    fn a_type_with_many_fields_has_a_format() {
        macro_rules! wide {
            ($($field:ident)*) => {
                #[derive(Serialize, Deserialize)]
                struct Wide { $($field: u8),* }
            };
        }
        wide!(a_field_with_a_rather_long_name_of_fifty_bytes_no_1 a_field_with_a_rather_long_name_of_fifty_bytes_no_2
            a_field_with_a_rather_long_name_of_fifty_bytes_no_3 a_field_with_a_rather_long_name_of_fifty_bytes_no_4
            a_field_with_a_rather_long_name_of_fifty_bytes_no_5 a_field_with_a_rather_long_name_of_fifty_bytes_no_é);
        assert_eq!(Format::of::<Encoded<Wide>>().label().map(str::len), Some(LABEL_MAX));
    }

    #[test]
    fn several_lie_on_a_desk_and_its_memory_is_used_again() {
        let job = |path: &str| Job { path: path.into(), sizes: vec![None, Some(7)] };
        let (one, two) = (job("one"), job("another"));
        let memory = || {
            let mut desk = Desk::default();
            for sent in [&one, &two] {
                Encoded::prepare(&sent, &mut desk).unwrap();
            }
            for (at, sent) in [&one, &two].into_iter().enumerate() {
                assert_eq!(Encoded::<Job>::receive(Encoded::bytes(&sent, &desk, at)).as_ref(), Ok(sent));
            }
            (desk.0.0.as_ptr(), desk.0.1.as_ptr())
        };
        memory();
        assert_eq!(memory(), memory());
    }

    #[test]
    fn what_is_not_that_type_says_why() {
        let refused = |bytes: &[u8]| match Encoded::<Job>::receive(bytes) {
            Err(Unfit::NotDecodable { length, why }) if length == bytes.len() => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b""), "it ends too early");
        assert_eq!(refused(&[1, 0xff, 0]), "text is not valid UTF-8");
        assert_eq!(refused(&[0, 1, 2]), "an Option is neither 0 nor 1");
        assert_eq!(refused(&[0, 0, 0]), "there are more bytes than it has");
    }
}
