//! How much mailboxes take, and that the largest can be told.

use super::*;

fn lay_out(
    capacity: u64,
    max_message: u64,
    align: u64,
    variable: bool,
    format_length: u64,
) -> Result<Geometry, Error> {
    let ceiling = usual_ceiling(capacity, max_message, 1 << 40);
    Geometry::new(Choice {
        kind: Kind::Mailbox,
        capacity,
        places: 0,
        max_message,
        align,
        variable,
        owned: true,
        kernel: false,
        sealed: false,
        filed: false,
        handed_on: false,
        format_length,
        ceiling,
        answers: 0,
    })
}

#[test]
fn a_thousand_small_slots_are_small() {
    let geometry = lay_out(1024, 8, 8, false, 100).unwrap();
    assert_eq!(geometry.stride, 64);
    assert!(geometry.reserved() <= 256 << 10);
}

#[test]
fn a_thousand_places_for_large_messages_are_small_until_they_come() {
    assert!(lay_out(1024, 1 << 20, 1, true, 100).unwrap().reserved() <= 1 << 20);
    assert!(lay_out(1024, 1 << 20, 1, false, 100).unwrap().reserved() <= 256 << 10);
}

#[test]
fn one_line_carries_56_bytes() {
    assert_eq!(lay_out(4, 56, 8, false, 0).unwrap().stride, 64);
    assert_eq!(lay_out(4, 57, 1, false, 0).unwrap().stride, 128);
    assert_eq!(lay_out(4, 48, 1, true, 0).unwrap().stride, 64);
}

#[test]
fn the_largest_of_everything_does_not_overflow() {
    let geometry = lay_out(MAX_CAPACITY, MAX_MESSAGE, MAX_ALIGN, true, MAX_FORMAT).unwrap();
    assert!(geometry.total < 1 << 44);
    assert!(lay_out(MAX_CAPACITY, MAX_IN_LINE, MAX_ALIGN, true, MAX_FORMAT).unwrap().total < 1 << 44);
    assert!(lay_out(MAX_CAPACITY + 1, 0, 1, true, 0).is_err());
    assert!(lay_out(0, MAX_MESSAGE, 1, true, 0).unwrap().total < 1 << 44);
    assert!(lay_out(1, u64::MAX, 1, true, 0).is_err());
    assert!(lay_out(1, 1, 3, true, 0).is_err());
}

#[test]
fn what_is_unbounded_begins_small() {
    for (max_message, variable) in [(8, false), (MAX_IN_LINE, false), (MAX_MESSAGE, true)] {
        let geometry = lay_out(UNBOUNDED, max_message, 8, variable, MAX_FORMAT).unwrap();
        assert!(geometry.total < 1 << 47 && geometry.reserved() <= MAX_FORMAT + 3 * PAGE);
        let areas = geometry.areas.unwrap();
        let [.., (slots_at, length)] = areas.parts(areas.segments - 1, geometry.begins());
        assert!(slots_at + length <= geometry.total && areas.bytes <= 320 << 10);
    }
}

#[test]
fn a_message_goes_into_the_smallest_chunk_that_holds_it() {
    for (length, class) in [(0, 0), (1, 0), (64, 0), (65, 1), (128, 1), (129, 2), (MAX_MESSAGE, 24)] {
        assert_eq!(class_of(length), class, "{length}");
    }
    let geometry = lay_out(16, 100_000, 1, true, 0).unwrap();
    let class = geometry.classes[class_of(100_000)];
    assert_eq!((class.size, geometry.classes[class_of(100_000) + 1].size), (131_072, 0));
    assert!(class.number >= 16 && class.chunks_at.is_multiple_of(PAGE));
}
