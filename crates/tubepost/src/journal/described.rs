//! What a log was chosen to be, and the text that says so beside it: a line for each choice, and a check sum.

use super::file::VERSION;
use crate::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// When what was sent is brought to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fsync {
    /// When the system likes to: it survives every process, but not the loss of power.
    Never,
    /// At the latest after this time.
    Every(Duration),
    /// Before a send returns.
    Each,
}

impl std::fmt::Display for Fsync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fsync::Never => f.write_str("never"),
            Fsync::Each => f.write_str("each"),
            Fsync::Every(time) => write!(f, "every {time:?}"),
        }
    }
}

/// How long messages stay that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Keep {
    /// So many …
    pub(crate) messages: Option<u64>,
    /// … or so many bytes …
    pub(crate) bytes: Option<u64>,
    /// … or for so long.
    pub(crate) age: Option<Duration>,
}

impl std::fmt::Display for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            self.messages.map(|number| format!("{number} messages")),
            self.bytes.map(|number| format!("{number} bytes")),
            self.age.map(|age| format!("{age:?}")),
        ];
        let said: Vec<_> = all.into_iter().flatten().collect();
        f.write_str(&if said.is_empty() {
            "nothing but what is still to be read".into()
        } else {
            said.join(", ")
        })
    }
}

/// What a log was chosen to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) id: [u64; 2],
    /// `u64::MAX`: unbounded.
    pub(crate) capacity: u64,
    /// The most bytes that may wait.
    pub(crate) most_bytes: Option<u64>,
    pub(crate) max_message: u64,
    pub(crate) align: u64,
    pub(crate) variable: bool,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) fsync: Fsync,
    pub(crate) keep: Keep,
    pub(crate) format: String,
}

impl Described {
    pub(super) fn spell(&self) -> String {
        let mut text = format!("tubepost log {VERSION}\n");
        let number = |value: Option<u64>| value.map_or("none".into(), |value| value.to_string());
        let fsync = match self.fsync {
            Fsync::Never => "never".into(),
            Fsync::Each => "each".into(),
            Fsync::Every(time) => time.as_nanos().to_string(),
        };
        let age = self.keep.age.map(|age| age.as_nanos() as u64);
        let _ = write!(
            text,
            "id {:016x}{:016x}\ncapacity {}\nbytes {}\nmax_message {}\nalign {}\nvariable {}\nmode {:o}\ngroup {}\n\
             fsync {fsync}\nkeep_messages {}\nkeep_bytes {}\nkeep_age {}\nformat {:?}\n",
            self.id[0],
            self.id[1],
            self.capacity,
            number(self.most_bytes),
            self.max_message,
            self.align,
            self.variable,
            self.mode,
            number(self.group.map(u64::from)),
            number(self.keep.messages),
            number(self.keep.bytes),
            number(age),
            self.format,
        );
        let check = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "check {check:08x}");
        text
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Described, Error> {
        let damaged = |what: &str| Error::Damaged { name: path.display().to_string(), what: what.into() };
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let version = head.strip_prefix("tubepost log ").ok_or_else(|| damaged("it describes no log"))?;
        let found = version.parse().map_err(|_| damaged("it describes no log"))?;
        if found != VERSION {
            return Err(Error::WrongVersion { name: path.display().to_string(), found, supported: VERSION });
        }
        let (body, check) = text.rsplit_once("check ").ok_or_else(|| damaged("it has no check sum"))?;
        if u32::from_str_radix(check.trim_end(), 16) != Ok(crc32c::crc32c(body.as_bytes())) {
            return Err(damaged("it has another check sum than it says"));
        }
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.ok_or_else(|| damaged(&format!("it does not say {name:?}")))
        };
        let bad = |name: &str| damaged(&format!("what it says of {name:?} is no value"));
        let number = |name: &str| field(name)?.parse::<u64>().map_err(|_| bad(name));
        let optional = |name: &str| match field(name)? {
            "none" => Ok(None),
            given => given.parse::<u64>().map(Some).map_err(|_| bad(name)),
        };
        let id = field("id")?;
        let half = |text: Option<&str>| text.and_then(|text| u64::from_str_radix(text, 16).ok());
        let id = half(id.get(..16)).zip(half(id.get(16..))).ok_or_else(|| bad("id"))?;
        let fsync = match field("fsync")? {
            "never" => Fsync::Never,
            "each" => Fsync::Each,
            _ => Fsync::Every(Duration::from_nanos(number("fsync")?)),
        };
        Ok(Described {
            id: [id.0, id.1],
            capacity: number("capacity")?,
            most_bytes: optional("bytes")?,
            max_message: number("max_message")?,
            align: number("align")?,
            variable: field("variable")? == "true",
            mode: u32::from_str_radix(field("mode")?, 8).map_err(|_| bad("mode"))?,
            group: optional("group")?.map(|group| group as u32),
            fsync,
            keep: Keep {
                messages: optional("keep_messages")?,
                bytes: optional("keep_bytes")?,
                age: optional("keep_age")?.map(Duration::from_nanos),
            },
            format: unquote(field("format")?).ok_or_else(|| bad("format"))?,
        })
    }
}

/// What `{:?}` made of a text.
fn unquote(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut text = String::new();
    while let Some(it) = rest.next() {
        let plain = match it {
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'u' => {
                    let digits: String = rest.by_ref().skip(1).take_while(|it| *it != '}').collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                other => other,
            },
            other => other,
        };
        text.push(plain);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_read_again() {
        let described = Described {
            id: [7, u64::MAX],
            capacity: 12,
            most_bytes: Some(1 << 30),
            max_message: 4096,
            align: 1,
            variable: true,
            mode: 0o640,
            group: Some(100),
            fsync: Fsync::Every(Duration::from_millis(10)),
            keep: Keep { messages: Some(5), bytes: None, age: Some(Duration::from_secs(60)) },
            format: "text \"of\" two\nlines\t\u{7}check 1 \\".into(),
        };
        let text = described.spell();
        assert_eq!(Described::parse(&text, Path::new("x")).expect("it was just spelled"), described);
        let wrong = text.replace("capacity 12", "capacity 13");
        assert!(Described::parse(&wrong, Path::new("x")).is_err());
    }
}
