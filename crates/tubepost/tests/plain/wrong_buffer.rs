// says: a message of `[u8]` can't be received into `String`

use tubepost::{Buffer, Message};

fn fills<M: Message + ?Sized, B: Buffer<M> + ?Sized>(_: &mut B) {}

fn main() {
    fills::<[u8], _>(&mut String::new());
}
