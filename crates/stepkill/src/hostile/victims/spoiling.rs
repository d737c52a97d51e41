//! One who shares memory with others by the sealed strategy, and writes rubbish into every word of its part: an owner to its senders, a sender to
//! its owner. Nobody else could.

use std::fs::read_to_string;
use std::time::{Duration, Instant};

use tubepost::Sender;

use super::{SESSION, Victim};
use crate::hostile::boxes::{ALL, Goods, Kind};
use crate::hostile::dice::Dice;
use crate::hostile::mapping::Mapping;
use crate::view::NAMELESS;

/// Where records begin.
const RING: u64 = 4096;

impl Victim {
    /// Owns a mailbox, or sends to it, and writes meanwhile.
    pub(super) fn spoil(&mut self) {
        let sealed: Vec<&Kind> = ALL.iter().filter(|kind| kind.sealed).collect();
        let kind = sealed[self.dice.below(sealed.len() as u64) as usize];
        let (domain, end) = (self.domain.clone(), self.session_ends() + SESSION);
        if self.dice.below(2) == 0 {
            let options = kind.options::<[u8]>(&domain);
            let inbox = self.call("own-to-spoil", kind, Duration::ZERO, |_| options.own(kind.name));
            while inbox.is_some() && Instant::now() < end {
                let _ = inbox.as_ref().map(|inbox| inbox.try_recv());
                spoil_some(&mut self.dice);
            }
            return;
        }
        let open = || Sender::<[u8]>::options().domain(&domain).open(kind.name);
        let out = self.call("open-to-spoil", kind, Duration::ZERO, |_| open());
        while out.is_some() && Instant::now() < end {
            let goods = <[u8]>::pick(&mut self.dice, kind);
            let _ = out.as_ref().map(|out| out.try_send(&goods));
            spoil_some(&mut self.dice);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes to what this process has mapped for writing.
fn spoil_some(dice: &mut Dice) {
    for area in own_areas() {
        for _ in 0..1 + dice.below(20) {
            let at = match dice.below(8) {
                0..=2 => 0,
                3 => 8 * dice.below(32),
                4 | 5 => RING + 8 * dice.below(64),
                _ => dice.below(area.length()),
            };
            let at = at % area.length();
            let now = area.read(at);
            area.write(
                at,
                match dice.below(8) {
                    0 => now ^ 1 << dice.below(64),
                    1 | 2 => now.wrapping_add(dice.below(5)).wrapping_sub(2),
                    3 => dice.below(12),
                    4 => dice.below(1100) | dice.below(5) << 32,
                    5 => u64::MAX - dice.below(3),
                    6 => dice.roll(),
                    _ => 0,
                },
            );
        }
    }
}

/// Its parts, mapped a second time.
fn own_areas() -> Vec<Mapping> {
    let maps = read_to_string("/proc/self/maps").unwrap_or_default();
    let area = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let shared = words.next()? == "rw-s" && line.contains(NAMELESS);
        let [from, to] = [from, to].map(|text| usize::from_str_radix(text, 16).ok());
        shared.then_some(()).and_then(|()| Mapping::doubled(from?, to? - from?).ok())
    };
    maps.lines().filter_map(area).collect()
}
