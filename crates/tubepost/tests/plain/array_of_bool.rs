// says: `bool` is not plain data, so it can't be in a message of fixed length

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Bad {
    value: [bool; 4],
}

fn main() {}
