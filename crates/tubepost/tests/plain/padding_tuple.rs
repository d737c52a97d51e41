// says: `Pair` has padding before field `1`

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Pair(u8, u64);

fn main() {}
