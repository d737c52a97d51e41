// says: enum `Colour` can't be a message: not every bit pattern is one of its variants

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(u8)]
enum Colour {
    Red,
    Green,
}

fn main() {}
