// says: `*const u8` is not plain data, so it can't be in a message of fixed length
// says: an address means nothing in another process

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Bad {
    value: *const u8,
}

fn main() {}
