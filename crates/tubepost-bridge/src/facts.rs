//! What an importer has to know of a mailbox before it makes one like it.

use serde::{Deserialize, Serialize};
use tubepost::{Format, Kind, OwnerKind, Stat};

/// What the queryable of a mailbox answers.
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

    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// What somebody said; an error says why it means nothing here.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Facts, String> {
        let (facts, rest): (Facts, _) = postcard::take_from_bytes(bytes)
            .map_err(|_| "what it says of itself can't be read".to_owned())?;
        if !rest.is_empty() {
            return Err("what it says of itself is too long".into());
        }
        Ok(facts)
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
    fn they_arrive_as_they_were() {
        let bytes = facts().encode();
        assert_eq!(Facts::decode(&bytes), Ok(facts()));
        assert!(Facts::decode(&bytes[1..]).is_err() && Facts::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert_eq!(facts().agreed(), Ok(Format::of::<u64>()));
        assert_eq!(facts().mode(), 0o620);
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
