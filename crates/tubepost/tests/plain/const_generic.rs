// says: can't be a message while it has generic parameters

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Block<const N: usize> {
    bytes: [u8; N],
}

fn main() {}
