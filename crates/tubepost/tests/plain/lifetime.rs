// says: a borrow means nothing in another process

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Borrowed<'a> {
    bytes: &'a [u8],
}

fn main() {}
