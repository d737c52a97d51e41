// says: `Big` is larger than 4096 bytes, the most that a message of fixed length can have

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Big {
    bytes: [u8; 4097],
}

fn main() {}
