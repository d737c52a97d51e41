//! A link or a pair of which the other end is dead: what came by it, and what is said of what went.

use tubepost::{Link, RecvTimeoutError, SendTimeoutError};

use crate::judge::{PATIENCE, timely};
use crate::ledger::{FIRST_TAG, Outcome};
use crate::letters::{self, JUDGE, Number};
use crate::world::{Came, Effects};

/// The next message, or nothing if the link is over.
pub fn next(link: &Link<[u8]>) -> Option<Vec<u8>> {
    match timely(PATIENCE, || link.recv_timeout(PATIENCE)) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Closed(closed)) => {
            assert!(closed.uncollected == 0, "everything was received: {closed:?}");
            None
        }
        Err(RecvTimeoutError::Timeout) => panic!("nobody sends any more, and the link is not over"),
        Err(error) => panic!("a receive was refused: {error}"),
    }
}

/// All that was accepted of the other one came, whole, once, in order.
pub fn all_came(got: &[Number], effects: Effects, outcome: &Outcome) {
    let added = match outcome {
        Outcome::Killed => (0, effects.adds),
        Outcome::Done | Outcome::WentOn(Came::Done) => (effects.adds, effects.adds),
        _ => (0, 0),
    };
    let came = got.len() as u32;
    let all: Vec<Number> = (0..came).map(|number| (FIRST_TAG, number)).collect();
    assert!(got == all, "lost, doubled or out of order: {got:?}");
    assert!((added.0..=added.1).contains(&came), "{came} came, and {added:?} were accepted (least, most)");
}

/// Who sends to a dead one is told so, and how many of the `sent` ones it never collected.
pub fn sends_in_vain(link: &Link<[u8]>, sent: u32, length: usize, effects: Effects, outcome: &Outcome) {
    let letter = letters::write((JUDGE, sent), length);
    let told = timely(PATIENCE, || link.send_timeout(&letter, PATIENCE));
    let Err(SendTimeoutError::Closed(_, closed)) = told else {
        panic!("a dead one was sent something: {told:?}")
    };
    let removes = u64::from(effects.removes);
    let consumed = match outcome {
        Outcome::Killed => 0..=removes,
        Outcome::Done => removes.min(u64::from(sent))..=removes,
        Outcome::WentOn(Came::Got(numbers)) => {
            let first: Vec<Number> = (0..numbers.len() as u32).map(|number| (JUDGE, number)).collect();
            assert!(*numbers == first, "it received {numbers:?}");
            numbers.len() as u64..=numbers.len() as u64
        }
        Outcome::WentOn(Came::Refused(why)) => {
            // Where a system call failed it may be told so (`Scene::go_on` knows where), and has received nothing then.
            let by_the_system = why.starts_with("Os {") || why.starts_with("NoMemory");
            assert!(
                sent == 0 || removes == 0 || by_the_system,
                "{sent} were sent to it, and it was told {why}"
            );
            0..=0
        }
        Outcome::WentOn(_) => 0..=0,
    };
    let left = u64::from(sent).wrapping_sub(closed.uncollected);
    assert!(consumed.contains(&left), "{sent} were sent, {consumed:?} consumed, and {closed:?}");
}
