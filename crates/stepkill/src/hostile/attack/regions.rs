//! Where the attacker writes to a region's two files, and what: docs/format.md tells where its words are.

use std::fs::File;

use crate::hostile::dice::Dice;
use crate::hostile::mapping::Mapping;
use crate::layout::{Layout, ROW};

use super::FEW;

/// Of the file that has the name: how many rows readers ever had.
const READERS_AT: u64 = 0x340;
/// Of the data's: who holds it, how many seats there ever were, heads of buffers, seats, what was changed, and the
/// buffers.
const CURRENT_AT: u64 = 0x80;
const SEATS_EVER_AT: u64 = 0x100;
const HEADS_AT: u64 = 0x1000;
const SEATS_AT: u64 = 0x2000;
const CHANGES_AT: u64 = 0xA000;
const DATA_AT: u64 = 0x1A000;
const BUFFERS: u64 = 64;
/// Where the data's file says how long that is, and itself.
const LENGTH_AT: u64 = 0x20;
const TOTAL_AT: u64 = 0x38;
/// And whether there is one copy.
const FLAGS_AT: u64 = 0x08;

/// A word of the file that has the name. (Rows of readers are where cells would be.)
pub fn among_rows(dice: &mut Dice, mapping: &Mapping, layout: &Layout) -> u64 {
    match dice.below(100) {
        // What says what it is, seldom.
        0 => dice.below(0x80),
        1 => 0x80 + dice.below(0x10),
        2..=20 => 0xC0 + dice.below(0x300),
        21..=30 => READERS_AT,
        31..=75 => layout.cells + ROW * dice.below(FEW) + 8 * dice.below(5),
        76..=95 => layout.rows + ROW * dice.below(FEW) + 8 * dice.below(16),
        _ => dice.below(mapping.length() - 4096),
    }
}

/// A word of the data's file. (In place that is shorter: the data is in another one.)
pub fn among_data(dice: &mut Dice, mapping: &Mapping) -> u64 {
    let at = match dice.below(100) {
        0 => dice.below(0x40),
        1..=30 => CURRENT_AT,
        31..=37 => SEATS_EVER_AT + 8 * dice.below(2),
        38..=52 => HEADS_AT + 64 * dice.below(FEW) + 8 * dice.below(3),
        53..=77 => SEATS_AT + 128 * dice.below(FEW) + 8 * dice.below(6),
        // The first words say how many there are.
        78..=82 => CHANGES_AT + 1024 * dice.below(FEW) + 8 * dice.below(2),
        83..=90 => CHANGES_AT + 1024 * dice.below(FEW) + 8 * dice.below(128),
        91..=95 => dice.below(DATA_AT),
        _ => dice.below(mapping.length() - 64),
    };
    at % (mapping.length() - 64)
}

/// What to write there.
pub fn value(dice: &mut Dice, now: u64, stale: Option<u64>, elsewhere: u64) -> u64 {
    let few = dice.below(FEW);
    match dice.below(24) {
        0..=3 => now ^ 1 << dice.below(64),
        4 => 0,
        5 => u64::MAX,
        6 => dice.roll(),
        7 => now.wrapping_add(1),
        8 => now.wrapping_sub(1),
        9 => elsewhere,
        10 | 11 => stale.unwrap_or(elsewhere),
        // Held or not; another buffer, or touched; another seat; another hold.
        12 | 13 => now ^ 1,
        14 => now ^ few << 1,
        15 => now ^ dice.below(256) << 7,
        16 => now.wrapping_add(few.wrapping_sub(FEW / 2) << 15),
        // A row that asks, has something pinned, reads, or is fenced.
        17 => now & !3 | dice.below(4),
        18 => [1, 2, 3, 7][few as usize % 4],
        // Another member's; another time.
        19 => now & !0xffff | few,
        20 => now.wrapping_add(few << 16),
        21 => [1 << 63, u64::MAX >> 1, 256, 255, 65_536, 1 << 40][few as usize % 6],
        22 => now & !0xffff_ffff | u64::from(dice.roll() as u32),
        _ => few,
    }
}

/// The data is said to be longer, and so is the file: who opens it then finds nothing wrong with that.
pub fn lengthen(dice: &mut Dice, file: &File, mapping: &Mapping) {
    if mapping.read(FLAGS_AT) >> 32 & 1 == 1 {
        return; // in place the data is in a file of its own
    }
    let length = mapping.read(LENGTH_AT).saturating_add(4096 * (1 + dice.below(64)));
    let total = (DATA_AT + BUFFERS * length.min(1 << 24).next_multiple_of(4096)).next_multiple_of(4096);
    // (Never shorter: see docs/stepkill.md.)
    if file.metadata().is_ok_and(|facts| facts.len() < total) && file.set_len(total).is_ok() {
        mapping.write(LENGTH_AT, length.min(1 << 24));
        mapping.write(TOTAL_AT, total);
    }
}
