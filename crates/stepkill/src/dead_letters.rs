//! The other mailbox, where some operations put what nobody wants.

use tubepost::{Domain, Error, Receiver, TryRecvError};

use crate::mail::Inbox;
use crate::world::BOX;
use crate::{layout, letters};

/// Its name.
pub const DEAD: &str = "dead";

/// The survivor moves what nobody else may have.
pub fn mover(domain: &Domain) -> Option<Inbox> {
    domain.stat(DEAD).ok()?;
    let options = Receiver::<[u8]>::options().domain(domain).member("judge").dead_letter(DEAD);
    Some(Inbox::Plain(options.open(BOX).expect("it exists")))
}

/// What was moved there came whole, once or (whoever moved it died before it was consumed) twice, and whoever moved it left nothing else. It is gone then.
pub fn are_buried(domain: &Domain) {
    let inbox = match Receiver::<[u8]>::options().domain(domain).member("judge").open(DEAD) {
        Ok(inbox) => inbox,
        Err(Error::NoSuchName { .. }) => return,
        Err(error) => panic!("dead letters can't be opened: {error}"),
    };
    let mut came = 0;
    loop {
        match inbox.try_recv() {
            Ok(message) => drop(letters::read(&message).unwrap_or_else(|why| panic!("a dead letter: {why}"))),
            Err(TryRecvError::Empty) => break,
            Err(error) => panic!("a dead letter: {error}"),
        }
        came += 1;
    }
    assert!(came <= 2, "{came} dead letters, and one was moved");
    drop(inbox);
    domain.gc().expect("our own domain");
    let used = layout::used(&domain.path().join(DEAD)).unwrap_or_else(|why| panic!("{why}"));
    assert!(used.rows.is_empty() && used.chunks.is_empty(), "in use among the dead letters: {used:?}");
    assert_eq!(domain.remove(DEAD).expect("nobody's").uncollected, 0);
}
