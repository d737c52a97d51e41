//! Durations, sizes and modes as they are written on the command line.

use std::time::Duration;

use tubepost::{Message, Options};

/// `100ms`, `1.5s`, `2m`: a number and its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a number and a unit, such as 100ms, 2s or 1m".to_string())
}

/// How many messages may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    Bounded(u64),
    Unbounded,
}

impl Capacity {
    /// A mailbox that has it.
    pub fn of<M: Message + ?Sized>(self, options: Options<M>) -> Options<M> {
        match self {
            Self::Bounded(n) => options.bounded(n),
            Self::Unbounded => options.unbounded(),
        }
    }
}

/// `7`, `0`, `unbounded`.
pub fn capacity(text: &str) -> Result<Capacity, String> {
    match text {
        "unbounded" => Ok(Capacity::Unbounded),
        number => number
            .parse()
            .map(Capacity::Bounded)
            .map_err(|_| "expected a number, such as 1024, or 0, or \"unbounded\"".to_string()),
    }
}

/// `4096`, `64KiB`, `1MiB`: a number of bytes, or of binary multiples of them.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1u64 << 30),
        "TiB" => Some(1u64 << 40),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| "expected a number of bytes, such as 4096, 64KiB, 1MiB, 1GiB or 1TiB".to_string())
}

/// `660`, `0660`: permission bits. Whether a mailbox can have them is the library's to say.
pub fn mode(text: &str) -> Result<u32, String> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let bits = if octal { u32::from_str_radix(text, 8).ok() } else { None };
    bits.ok_or_else(|| "expected three or four octal digits, such as 660 or 0660".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, micros) in
            [("100ms", 100_000), ("2s", 2_000_000), ("1m", 60_000_000), ("1.5s", 1_500_000), ("500us", 500)]
        {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1 fortnight", "1e3s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn capacities() {
        assert_eq!(capacity("7"), Ok(Capacity::Bounded(7)));
        assert_eq!(capacity("0"), Ok(Capacity::Bounded(0)));
        assert_eq!(capacity("unbounded"), Ok(Capacity::Unbounded));
        for text in ["", "-1", "many", "Unbounded", "1.5", "18446744073709551616"] {
            assert!(capacity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64KiB", 65536), ("1GiB", 1 << 30), ("1TiB", 1 << 40), ("7B", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "KiB", "-1", "1.5KiB", "64kb", "4 KiB", "99999999999999999999", "18446744073709551615KiB"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, bits) in [("660", 0o660), ("0660", 0o660), ("1777", 0o1777), ("000", 0)] {
            assert_eq!(mode(text), Ok(bits), "{text}");
        }
        for text in ["", "66", "00660", "680", "0o660", "+660", "-660", "rw-", "6 0"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
