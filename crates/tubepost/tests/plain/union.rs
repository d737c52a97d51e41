// says: union `Either` can't be a message: nothing says which of its fields was written

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
union Either {
    whole: u32,
    bytes: [u8; 4],
}

fn main() {}
