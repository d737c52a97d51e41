// says: `Reading` needs `#[repr(C)]`

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(align(64))]
struct Reading {
    words: [u64; 8],
}

fn main() {}
