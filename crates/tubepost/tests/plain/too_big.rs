// says: `Big` is larger than 1 MiB, the most that a message of fixed length can have

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Big {
    bytes: [u8; (1 << 20) + 1],
}

fn main() {}
