// says: `Tail` has padding at its end, after field `narrow`
// says: add an explicit last field

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Tail {
    wide: u32,
    narrow: u8,
}

fn main() {}
