// says: `bool` is not plain data, so it can't be in a message of fixed length
// says: not every bit pattern is a valid value: use an integer

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Bad {
    value: bool,
}

fn main() {}
