//! What an importer has to know of a mailbox before it makes one like it.

use serde::{Deserialize, Serialize};
use tubepost::{Format, Kind, OwnerKind, Stat};

/// What is said of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    layout: Layout,
    variable: bool,
    format: String,
    pub(crate) capacity: Option<u64>,
    pub(crate) max_message: u64,
    mode: u32,
    /// For people.
    pub(crate) owner: String,
    pub(crate) strategy: String,
}

/// So long is no description of a format.
const LONGEST: usize = 64 << 10;

/// How plain types lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    big_endian: bool,
    /// Bits of a pointer: the alignment of some types goes with it.
    bits: u32,
}

const HERE: Layout = Layout { big_endian: cfg!(target_endian = "big"), bits: usize::BITS };

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = if self.big_endian { "big" } else { "little" };
        write!(f, "{order}-endian with {} bits", self.bits)
    }
}

impl Facts {
    /// What there is to be told of a mailbox; an error says why it can't be exported.
    pub(crate) fn of(stat: &Stat) -> Result<Facts, String> {
        if stat.kind != Kind::Mailbox {
            return Err(format!("it is a {}, no mailbox", stat.kind));
        }
        if let Some(place) = &stat.stands_for {
            return Err(format!("it stands for a mailbox at {place}; export that"));
        }
        let owner = match stat.owner.kind {
            OwnerKind::Process => format!("process {}", stat.owner.name),
            _ => "the system".into(),
        };
        Ok(Facts {
            layout: HERE,
            variable: stat.variable,
            format: stat.carries.encode(),
            capacity: stat.capacity,
            max_message: stat.max_message,
            mode: stat.mode,
            owner,
            strategy: stat.strategy.to_string(),
        })
    }

    /// Whether what somebody said can be shown to people, and kept.
    pub(crate) fn are_sane(&self) -> bool {
        let short = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
        short(&self.owner) && short(&self.strategy) && self.format.len() <= LONGEST
    }

    /// No longer messages are let in than this: who sends them is refused at home.
    pub(crate) fn limit(&mut self, most: Option<u64>) -> Result<(), String> {
        let Some(most) = most.filter(|most| *most < self.max_message) else { return Ok(()) };
        if !self.variable {
            return Err(format!(
                "its messages have {} bytes, and {most} are let in (--max-message)",
                self.max_message
            ));
        }
        self.max_message = most;
        Ok(())
    }

    /// The format that both sides agree on. What is of variable length is bytes everywhere; a plain type has to lie in memory here as it does there.
    pub(crate) fn agreed(&self) -> Result<Format, String> {
        let format = Format::decode(self.variable, &self.format)?;
        let plain = !self.variable || format.answer().is_some_and(|answer| !answer.is_variable());
        if plain && self.layout != HERE {
            return Err(format!(
                "there, {format} is {}, and here {HERE}; use a variable-length message, such as text, between the two",
                self.layout
            ));
        }
        Ok(format)
    }

    /// Who may send, here as there; who receives is the bridge.
    pub(crate) fn mode(&self) -> u32 {
        self.mode & 0o222 | 0o600
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            layout: HERE,
            variable: false,
            format: Format::of::<u64>().encode(),
            capacity: Some(7),
            max_message: 8,
            mode: 0o620,
            owner: "system".into(),
            strategy: "shared".into(),
        }
    }

    #[test]
    fn what_is_like_here_is_agreed_and_what_nobody_can_read_is_not_sane() {
        assert_eq!(facts().agreed(), Ok(Format::of::<u64>()));
        assert_eq!(facts().mode(), 0o620);
        assert!(facts().are_sane());
        for owner in ["\u{1b}[2J".to_owned(), "a".repeat(257)] {
            assert!(!Facts { owner, ..facts() }.are_sane());
        }
        assert!(!Facts { format: "a".repeat(LONGEST + 1), ..facts() }.are_sane());
    }

    #[test]
    fn another_byte_order_is_refused_with_both_sides_and_only_where_it_matters() {
        let layout = Layout { big_endian: !HERE.big_endian, bits: 32 };
        let why = Facts { layout, ..facts() }.agreed().unwrap_err();
        assert!(why.contains("big-endian") && why.contains("little-endian") && why.contains("u64"), "{why}");
        let text = Facts { layout, variable: true, format: "str".into(), ..facts() };
        assert_eq!(text.agreed(), Ok(Format::of::<str>()));
        assert!(Facts { format: "\u{1b}[2J".into(), ..facts() }.agreed().is_err());
    }
}
