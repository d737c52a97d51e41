// says: `String` is not plain data, so it can't be in a message of fixed length
// says: an address means nothing in another process

use tubepost::Message;

#[derive(Message)]
#[repr(C)]
struct Bad {
    value: String,
}

fn main() {}
