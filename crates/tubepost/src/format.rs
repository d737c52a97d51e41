//! What sender and receiver agree on before the first message.
//!
//! A mailbox keeps the format it was created with as text; who attaches compares its own. A
//! plain type describes itself (name, size, alignment, fields), so that a struct that changed between
//! two builds is caught. Variable-length messages can't describe themselves: their owner declares a
//! label, and the other side must declare the same one.
//!
//! The text comes out of shared memory, so it is checked before it reaches anyone's terminal.

use crate::memory::plain::{ALIGN_MAX, Plain, SIZE_MAX};
use std::fmt;

/// In a segment's text, behind all that is said of messages: where the mailbox is for which this one stands.
pub(crate) const STANDS_FOR: char = '\x1d';
/// In a segment's text, between what questions are and what answers are. No label has it in it.
const ANSWER: char = '\x1f';
/// Between what keys are and what values are.
const KEYED: char = '\x1e';
/// Before the label of answers of variable length …
const VARIABLE: char = 'v';
/// … and before the description of those of a plain type.
const FIXED: char = 'f';

/// The most bytes a label has.
pub(crate) const LABEL_MAX: usize = 255;

/// What a mailbox carries: the layout of a plain type, or the label of variable-length messages.
///
/// Its text shows both sides of a disagreement.
///
/// ```
/// use tubepost::{Format, Message};
///
/// #[derive(Message, Clone, Copy)]
/// #[repr(C)]
/// struct Reading {
///     sensor: u32,
///     celsius: f32,
/// }
///
/// let reading = Format::of::<Reading>();
/// assert_eq!(reading.to_string(), "Reading { sensor: u32 @0, celsius: f32 @4 } (8 bytes, align 4)");
/// assert_eq!(Format::labelled("jobs/v2").unwrap().to_string(), r#"bytes labelled "jobs/v2""#);
/// assert_ne!(reading, Format::of::<u64>());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Format(Agreed);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Agreed {
    /// The description of a plain type, size and alignment included.
    Fixed(String),
    /// The label of variable-length messages.
    Variable(String),
    /// Of questions, and of their answers.
    Answered(Box<Format>, Box<Format>),
    /// Of keys, and of their values.
    Keyed(Box<Format>, Box<Format>),
}

impl Format {
    /// The format of variable-length messages with a label of their own.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// assert_eq!(Format::labelled("jobs/v2").unwrap().label(), Some("jobs/v2"));
    /// ```
    ///
    /// # Errors
    ///
    /// The reason, in words, if the label has more than 255 bytes or a control character.
    ///
    /// ```
    /// # use tubepost::Format;
    /// assert!(Format::labelled("two\nlines").unwrap_err().contains("control character"));
    /// ```
    pub fn labelled(label: &str) -> Result<Format, String> {
        if label.len() > LABEL_MAX {
            return Err(format!("a label has at most {LABEL_MAX} bytes, this one has {}", label.len()));
        }
        if let Some(c) = label.chars().find(|c| c.is_control()) {
            return Err(format!("a label has no control characters, this one has {c:?}"));
        }
        Ok(Format(Agreed::Variable(label.to_owned())))
    }

    /// The label of variable-length messages; `None` for a plain type.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// assert_eq!(Format::of::<[u8]>().label(), Some(""));
    /// assert_eq!(Format::of::<u64>().label(), None);
    /// ```
    pub fn label(&self) -> Option<&str> {
        match &self.0 {
            Agreed::Variable(label) => Some(label),
            Agreed::Fixed(_) | Agreed::Keyed(..) => None,
            Agreed::Answered(question, _) => question.label(),
        }
    }

    /// The format of questions that are answered.
    pub(crate) fn answered(question: Format, answer: Format) -> Format {
        Format(Agreed::Answered(Box::new(question), Box::new(answer)))
    }

    /// The format of a table of plain keys and values.
    pub(crate) fn keyed(key: Format, value: Format) -> Format {
        Format(Agreed::Keyed(Box::new(key), Box::new(value)))
    }

    /// The format of the messages themselves, where they are answered.
    pub(crate) fn question(&self) -> &Format {
        match &self.0 {
            Agreed::Answered(question, _) => question,
            Agreed::Fixed(_) | Agreed::Variable(_) | Agreed::Keyed(..) => self,
        }
    }

    /// The format of the answers, where messages are answered.
    ///
    /// ```
    /// use tubepost::{Call, Format};
    ///
    /// let format = Format::of::<Call<str, u64>>();
    /// assert_eq!(format.to_string(), r#"bytes labelled "str", answered by u64 (8 bytes, align 8)"#);
    /// assert_eq!(format.answer(), Some(&Format::of::<u64>()));
    /// assert_eq!(Format::of::<str>().answer(), None);
    /// ```
    pub fn answer(&self) -> Option<&Format> {
        match &self.0 {
            Agreed::Answered(_, answer) => Some(answer),
            Agreed::Fixed(_) | Agreed::Variable(_) | Agreed::Keyed(..) => None,
        }
    }

    /// Whether messages differ in length.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// assert!(Format::of::<str>().is_variable());
    /// assert!(!Format::of::<[u32; 3]>().is_variable());
    /// ```
    pub fn is_variable(&self) -> bool {
        self.label().is_some()
    }

    /// How many bytes each message has, if that is fixed.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// assert_eq!((Format::of::<[u32; 3]>().size(), Format::of::<str>().size()), (Some(12), None));
    /// ```
    pub fn size(&self) -> Option<usize> {
        self.fixed().map(|(size, _)| size)
    }

    /// Size and alignment of a plain type, as its description says.
    pub(crate) fn fixed(&self) -> Option<(usize, usize)> {
        let Agreed::Fixed(text) = &self.question().0 else { return None };
        let (_, measures) = text.strip_suffix(')')?.rsplit_once('(')?;
        let (size, align) = measures.split_once(", align ")?;
        let size = size.strip_suffix(" bytes").or_else(|| size.strip_suffix(" byte"))?;
        let (size, align): (usize, usize) = (size.parse().ok()?, align.parse().ok()?);
        (size <= SIZE_MAX && align.is_power_of_two() && align <= ALIGN_MAX).then_some((size, align))
    }

    /// The text a segment keeps; it and [`is_variable`](Self::is_variable) make the format again.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// let format = Format::of::<u64>();
    /// assert_eq!(Format::decode(format.is_variable(), &format.encode()), Ok(format));
    /// ```
    pub fn encode(&self) -> String {
        match &self.0 {
            Agreed::Fixed(text) | Agreed::Variable(text) => text.clone(),
            Agreed::Keyed(key, value) => format!("{}{KEYED}{}", key.encode(), value.encode()),
            Agreed::Answered(question, answer) => {
                let kind = if answer.is_variable() { VARIABLE } else { FIXED };
                format!("{}{ANSWER}{kind}{}", question.encode(), answer.encode())
            }
        }
    }

    /// The format that a segment's text stands for.
    ///
    /// ```
    /// use tubepost::Format;
    ///
    /// assert_eq!(Format::decode(true, "jobs/v2"), Format::labelled("jobs/v2"));
    /// ```
    ///
    /// # Errors
    ///
    /// The reason, in words, if no format has this text.
    ///
    /// ```
    /// # use tubepost::Format;
    /// assert!(Format::decode(false, "\u{1b}[2J").unwrap_err().contains("control character"));
    /// ```
    pub fn decode(variable: bool, text: &str) -> Result<Format, String> {
        let text = text.split_once(STANDS_FOR).map_or(text, |(format, _)| format);
        if let Some((question, answer)) = text.split_once(ANSWER) {
            let answer = match (answer.strip_prefix(VARIABLE), answer.strip_prefix(FIXED)) {
                (Some(label), _) => Format::labelled(label),
                (None, Some(text)) => Format::decode_plain(text),
                (None, None) => Err("the description of the answers is of no known kind".to_owned()),
            };
            return Ok(Format::answered(Format::decode(variable, question)?, answer?));
        }
        if variable {
            return Format::labelled(text);
        }
        if let Some((key, value)) = text.split_once(KEYED) {
            return Ok(Format::keyed(Format::decode_plain(key)?, Format::decode_plain(value)?));
        }
        Format::decode_plain(text)
    }

    fn decode_plain(text: &str) -> Result<Format, String> {
        if text.is_empty() {
            return Err("the description of a type is never empty, this one is".to_owned());
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(format!("the description of a type has no control characters, this one has {c:?}"));
        }
        Ok(Format(Agreed::Fixed(text.to_owned())))
    }

    pub(crate) fn plain<T: Plain>() -> Format {
        let (size, align) = (size_of::<T>(), align_of::<T>());
        let s = if size == 1 { "" } else { "s" };
        Format(Agreed::Fixed(format!("{} ({size} byte{s}, align {align})", T::SHAPE)))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Agreed::Fixed(text) => f.write_str(text),
            Agreed::Variable(label) if label.is_empty() => f.write_str("bytes without a label"),
            Agreed::Variable(label) => write!(f, "bytes labelled {label:?}"),
            Agreed::Keyed(key, value) => write!(f, "a table from {key} to {value}"),
            Agreed::Answered(question, answer) => write!(f, "{question}, answered by {answer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tubepost_derive::Message;

    #[test]
    fn label_is_limited_in_bytes_not_characters() {
        assert!(Format::labelled(&"x".repeat(255)).is_ok());
        assert!(Format::labelled(&"é".repeat(127)).is_ok());
        let why = Format::labelled(&"é".repeat(128)).unwrap_err();
        assert_eq!(why, "a label has at most 255 bytes, this one has 256");
        for control in ["\0", "\n", "\u{7f}", "\u{85}"] {
            assert!(Format::labelled(control).is_err());
        }
    }

    #[test]
    fn text_of_another_kind_is_another_format() {
        assert_ne!(Format::decode(true, "u8 (1 byte, align 1)"), Ok(Format::of::<u8>()));
        assert_eq!(Format::decode(false, "u8 (1 byte, align 1)"), Ok(Format::of::<u8>()));
        assert!(Format::decode(false, "").is_err());
        assert_eq!(Format::decode(true, ""), Ok(Format::of::<[u8]>()));
    }

    #[test]
    fn what_changes_the_layout_changes_the_format() {
        mod old {
            #[derive(super::Message, Clone, Copy)]
            #[repr(C)]
            pub struct Reading {
                pub sensor: u32,
                pub celsius: f32,
            }
        }
        mod renamed {
            #[derive(super::Message, Clone, Copy)]
            #[repr(C)]
            pub struct Reading {
                pub sensor: u32,
                pub kelvin: f32,
            }
        }
        mod aligned {
            #[derive(super::Message, Clone, Copy)]
            #[repr(C, align(8))]
            pub struct Reading {
                pub sensor: u32,
                pub celsius: f32,
            }
        }
        mod same {
            #[derive(super::Message, Clone, Copy)]
            #[repr(C)]
            pub struct Reading {
                pub sensor: u32,
                pub celsius: f32,
            }
        }
        let format = Format::of::<old::Reading>();
        assert_ne!(format, Format::of::<renamed::Reading>());
        assert_ne!(format, Format::of::<aligned::Reading>());
        assert_eq!(format, Format::of::<same::Reading>());
    }
}
