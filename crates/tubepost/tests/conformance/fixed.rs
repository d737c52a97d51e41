//! Fixed-length messages of every size and alignment arrive as they were sent.

use tubepost::{Message, Plain};

use crate::letters::pattern;
use crate::rows::{Row, on_every_row_with_room, open};
use crate::stage::Place;

/// A type of exactly `$size` bytes, made from and compared by its bytes.
macro_rules! letter {
    ($name:ident, $size:literal, $align:literal) => {
        #[derive(Message, Clone, Copy, Debug, PartialEq)]
        #[repr(C, align($align))]
        struct $name {
            bytes: [u8; $size],
        }

        impl Letter for $name {
            fn from_seed(seed: u64) -> Self {
                assert_eq!((size_of::<Self>(), align_of::<Self>()), ($size, $align));
                $name { bytes: pattern($size, seed).try_into().expect("as long as asked") }
            }
        }
    };
}

trait Letter: for<'a> Message<Sent<'a> = Self, Received = Self> + Plain + PartialEq + std::fmt::Debug {
    fn from_seed(seed: u64) -> Self;
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Nothing {}

impl Letter for Nothing {
    fn from_seed(_: u64) -> Self {
        Nothing {}
    }
}

letter!(One, 1, 1);
letter!(Eight, 8, 1);
letter!(Line, 56, 1);
letter!(Slot, 64, 1);
letter!(Thousand, 1000, 1);
letter!(Page, 4096, 1);
letter!(AlignedTo2, 2, 2);
letter!(AlignedTo4, 4, 4);
letter!(AlignedTo8, 56, 8);
letter!(AlignedTo16, 48, 16);
letter!(AlignedTo32, 64, 32);
letter!(AlignedTo64, 64, 64);
letter!(PageAlignedTo64, 4096, 64);

/// Three laps, so that every place carries different messages.
fn there_and_back<T: Letter>(row: &Row, place: &Place, name: &str) {
    let inbox = row.own::<T>(place, name);
    let out = open::<T>(place, name);
    for lap in 0..3 {
        for at in 0..row.n() {
            out.try_send(T::from_seed(lap + at)).expect("a free place");
        }
        for at in 0..row.n() {
            assert_eq!(inbox.try_recv(), Ok(T::from_seed(lap + at)), "message {at} of {name}");
        }
    }
    let mut into = T::from_seed(0);
    out.try_send(T::from_seed(5)).expect("a free place");
    assert_eq!(inbox.recv_into(&mut into), Ok(size_of::<T>()));
    assert_eq!(into, T::from_seed(5));
}

#[test]
fn every_size_and_alignment() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        there_and_back::<Nothing>(row, &place, "Nothing");
        there_and_back::<One>(row, &place, "One");
        there_and_back::<Eight>(row, &place, "Eight");
        there_and_back::<Line>(row, &place, "Line");
        there_and_back::<Slot>(row, &place, "Slot");
        there_and_back::<Thousand>(row, &place, "Thousand");
        there_and_back::<Page>(row, &place, "Page");
        there_and_back::<AlignedTo2>(row, &place, "AlignedTo2");
        there_and_back::<AlignedTo4>(row, &place, "AlignedTo4");
        there_and_back::<AlignedTo8>(row, &place, "AlignedTo8");
        there_and_back::<AlignedTo16>(row, &place, "AlignedTo16");
        there_and_back::<AlignedTo32>(row, &place, "AlignedTo32");
        there_and_back::<AlignedTo64>(row, &place, "AlignedTo64");
        there_and_back::<PageAlignedTo64>(row, &place, "PageAlignedTo64");
    });
}

/// A type with fields of several kinds keeps every bit, also those of a float that is not a number.
#[test]
fn fields_keep_their_bits() {
    #[derive(Message, Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Reading {
        sensor: u32,
        celsius: f32,
        offset: i64,
        trace: [u16; 4],
    }
    let place = Place::new();
    let row = &crate::rows::ROWS[0];
    let inbox = row.own::<Reading>(&place, "reading");
    let out = open::<Reading>(&place, "reading");
    let strange = f32::from_bits(0x7fc0_1234);
    let sent = Reading { sensor: u32::MAX, celsius: strange, offset: i64::MIN, trace: [1, 2, 3, u16::MAX] };
    out.send(sent).expect("the owner lives");
    let got = inbox.recv().expect("it was sent");
    assert_eq!((got.sensor, got.offset, got.trace), (sent.sensor, sent.offset, sent.trace));
    assert_eq!(got.celsius.to_bits(), strange.to_bits());
}
