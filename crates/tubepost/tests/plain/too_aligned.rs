// says: `Wide` has an alignment above 64

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C, align(128))]
struct Wide {
    bytes: [u8; 128],
}

fn main() {}
