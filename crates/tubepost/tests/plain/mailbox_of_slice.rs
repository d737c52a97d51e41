// says: `[u16]` can't be sent through a mailbox

use tubepost::Message;

fn carries<M: Message + ?Sized>() {}

fn check() {
    carries::<[u16]>();
}

fn main() {}
