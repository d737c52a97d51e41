// says: `bool` can't be sent through a mailbox
// says: use an integer (u8 for a bool)

use tubepost::Message;

fn carries<M: Message + ?Sized>() {}

fn check() {
    carries::<bool>();
}

fn main() {}
