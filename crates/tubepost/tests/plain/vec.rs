// says: `Vec<u8>` is not plain data, so it can't be in a message of fixed length
// says: an address means nothing in another process

use tubepost::Message;

#[derive(Message)]
#[repr(C)]
struct Bad {
    value: Vec<u8>,
}

fn main() {}
