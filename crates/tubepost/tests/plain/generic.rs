// says: can't be a message while it has generic parameters

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Pair<T> {
    left: T,
    right: T,
}

fn main() {}
