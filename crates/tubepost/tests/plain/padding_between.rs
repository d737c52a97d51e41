// says: `Gap` has padding before field `wide`
// says: add an explicit field there

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Gap {
    narrow: u8,
    wide: u32,
}

fn main() {}
