//! Closing a queue whose only sender claims by plain stores. With store buffers.
//!
//! ```text
//! claim word     one per position: nobody's, somebody's, or closed
//! state word     one per position: free or full
//! closing        somebody closes it
//! end            0, or 1 + the tail that was decided on
//! counted        0, or 1 + the messages never collected: what every closer says
//! ```
//!
//! *Favoured thread*, holding the sender's lock (which costs it no fence, see `sole`). Find the first position that is
//! nobody's; closed: refused. Claim, by a plain store. State = full, a plain store. Look at `closing`: 0, sent. Else CAS `end` 0 → behind this position;
//! sent if that succeeded, or the end that is there is behind it; else refused.
//!
//! *Another thread* of the same process, holding the lock: look at `closing`; 1: refused. Find the first position that is nobody's, closed: refused; claim it by
//! CAS. Let go of the lock. State = full. Sent.
//!
//! *Closer*. `closing` = 1, fence, membarrier. Find the first position that is nobody's, CAS it to closed. CAS `end` 0 → that position; the tail is what is
//! there then. Count, before the tail, what is full or claimed by the living; CAS `counted` 0 → 1 + that.
//!
//! # Invariants
//! 1. Whoever looked at `closing` and saw 0 did so before the membarrier, and its claim is an older store: closers see it.
//! 2. A claim by a plain store that overwrote *closed* came after that, so after `closing` = 1: its author sees that and lets `end` decide, before it
//!    lets go of the lock; and so does whoever has the lock next.
//! 3. `end` is decided once. A message counts if and only if it is before the end.
//!
//! # What if it dies here?
//! - a sender between claim and state: not counted, as nobody was told that it was sent.
//! - a sender after that: counted, if it is before the end.
//! - a closer anywhere: the next one does the same.

use crate::explorer::{Model, Steps, breaks, holds};
use crate::memory::Memory;

const PLACES: usize = 4;
const STATE: usize = PLACES;
const CLOSING: usize = 2 * PLACES;
const END: usize = CLOSING + 1;
const COUNTED: usize = END + 1;
const LOCK: usize = COUNTED + 1;
const WORDS: usize = LOCK + 1;

/// 0: the favoured thread. 1: another one of its process. 2 and 3: who closes.
const PROCESSES: usize = 4;
const FAVOURED: usize = 0;
const SENDERS: usize = 2;

const NOBODYS: u8 = 0;
const CLOSED: u8 = 9;
const FULL: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who closes does without the membarrier.
    NoMembarrier,
    /// The favoured thread does not look at `closing` after it published.
    NoLook,
    /// The other thread does not look at `closing` before it claims.
    OthersDontLook,
    /// Whoever sees `closing` takes its message for refused.
    RefusedUnasked,
    /// Each closer goes by the tail that it found itself.
    EndsOfTheirOwn,
}

#[derive(Clone, Copy)]
struct Alone {
    rounds: [u8; SENDERS],
    closers: usize,
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Lock,
    LookFirst,
    Find,
    Claim(u8),
    Publish(u8),
    Look(u8),
    Decide(u8),
    Unlock,
    SetClosing,
    Membarrier,
    Close,
    DecideEnd(u8),
    Count(u8),
    Done,
    Dead,
}

/// What became of a message, as its sender was told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Told {
    Nothing,
    Sent,
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    memory: Memory<WORDS, PROCESSES>,
    at: [At; PROCESSES],
    rounds: [u8; SENDERS],
    told: [Told; PLACES],
    kills: u8,
    killed_a_sender: bool,
}

impl Alone {
    fn next(&self, s: &mut State, p: usize) {
        s.rounds[p] -= 1;
        s.at[p] = if s.rounds[p] == 0 { At::Done } else { At::Lock };
    }

    /// A step of a sender that is not a look at its buffer.
    fn send(&self, s: &mut State, p: usize) -> Option<&'static str> {
        Some(match s.at[p] {
            At::Lock => {
                if p != FAVOURED {
                    s.memory.membarrier(); // as who revokes a bias does
                }
                if s.memory.load(p, LOCK) != 0 {
                    return None;
                }
                s.memory.store(p, LOCK, 1);
                if p != FAVOURED {
                    s.memory.fence(p);
                }
                let looks = p != FAVOURED && self.planted != Planted::OthersDontLook;
                s.at[p] = if looks { At::LookFirst } else { At::Find };
                "has the lock"
            }
            At::LookFirst => {
                s.at[p] = if s.memory.load(p, CLOSING) == 0 { At::Find } else { At::Unlock };
                "looks at closing"
            }
            At::Find => {
                let found = (0..PLACES).find(|&at| [NOBODYS, CLOSED].contains(&s.memory.load(p, at)));
                s.at[p] = match found {
                    Some(at) if s.memory.load(p, at) == NOBODYS => At::Claim(at as u8),
                    _ => At::Unlock,
                };
                "finds the tail"
            }
            At::Claim(at) if p == FAVOURED => {
                s.memory.store(p, at.into(), 1);
                s.at[p] = At::Publish(at);
                "claims, by a plain store"
            }
            At::Claim(at) => {
                let claimed = s.memory.compare_and_swap(p, at.into(), NOBODYS, 2);
                if claimed {
                    s.memory.store(p, LOCK, 0);
                }
                s.at[p] = if claimed { At::Publish(at) } else { At::Find };
                "claims, by CAS"
            }
            At::Publish(at) => {
                s.memory.store(p, STATE + usize::from(at), FULL);
                if p == FAVOURED && self.planted != Planted::NoLook {
                    s.at[p] = At::Look(at);
                } else {
                    s.told[usize::from(at)] = Told::Sent;
                    s.at[p] = At::Unlock;
                    if p != FAVOURED {
                        self.next(s, p);
                    }
                }
                "publishes"
            }
            At::Look(at) => {
                let closing = s.memory.load(p, CLOSING) != 0;
                if !closing {
                    s.told[usize::from(at)] = Told::Sent;
                } else if self.planted == Planted::RefusedUnasked {
                    s.told[usize::from(at)] = Told::Refused;
                }
                let decide = closing && self.planted != Planted::RefusedUnasked;
                s.at[p] = if decide { At::Decide(at) } else { At::Unlock };
                "looks at closing"
            }
            At::Decide(at) => {
                let first = s.memory.compare_and_swap(p, END, 0, at + 2);
                let sent = first || s.memory.load(p, END) > at + 1;
                s.told[usize::from(at)] = if sent { Told::Sent } else { Told::Refused };
                s.at[p] = At::Unlock;
                "asks for the end"
            }
            At::Unlock => {
                s.memory.store(p, LOCK, 0);
                self.next(s, p);
                "lets go of the lock"
            }
            _ => return None,
        })
    }

    fn close(&self, s: &mut State, p: usize) -> Option<&'static str> {
        Some(match s.at[p] {
            At::SetClosing => {
                s.memory.store(p, CLOSING, 1);
                s.memory.fence(p);
                s.at[p] = if self.planted == Planted::NoMembarrier { At::Close } else { At::Membarrier };
                "closing = 1"
            }
            At::Membarrier => {
                s.memory.membarrier();
                s.at[p] = At::Close;
                "membarrier"
            }
            At::Close => {
                let found = (0..PLACES).find(|&at| [NOBODYS, CLOSED].contains(&s.memory.load(p, at)));
                let tail = found.unwrap_or(PLACES);
                let closed = found.is_none_or(|at| {
                    s.memory.load(p, at) == CLOSED || s.memory.compare_and_swap(p, at, NOBODYS, CLOSED)
                });
                if closed {
                    s.at[p] = At::DecideEnd(tail as u8);
                }
                "closes at the tail"
            }
            At::DecideEnd(tail) => {
                let first = s.memory.compare_and_swap(p, END, 0, tail + 1);
                let own = first || self.planted == Planted::EndsOfTheirOwn;
                s.at[p] = At::Count(if own { tail } else { s.memory.load(p, END) - 1 });
                "asks for the end"
            }
            At::Count(tail) => {
                let lives = |p: usize| s.at[p] != At::Dead;
                let there = (0..usize::from(tail)).filter(|&at| {
                    let claimant = s.memory.load(p, at);
                    s.memory.load(p, STATE + at) == FULL
                        || claimant != NOBODYS && claimant != CLOSED && lives(usize::from(claimant) - 1)
                });
                let counted = there.count() as u8 + 1;
                s.memory.compare_and_swap(p, COUNTED, 0, counted);
                s.at[p] = At::Done;
                "counts"
            }
            _ => return None,
        })
    }
}

impl Model for Alone {
    type State = State;

    fn initial(&self) -> State {
        let start = |p: usize| match p {
            0 | 1 if self.rounds[p] > 0 => At::Lock,
            _ if p >= SENDERS && p < SENDERS + self.closers => At::SetClosing,
            _ => At::Done,
        };
        State {
            memory: Memory::zeroed(),
            at: [start(0), start(1), start(2), start(3)],
            rounds: self.rounds,
            told: [Told::Nothing; PLACES],
            kills: self.kills,
            killed_a_sender: false,
        }
    }

    fn processes(&self) -> usize {
        PROCESSES
    }

    fn name(&self, p: usize) -> String {
        ["favoured thread", "other thread", "closer 1", "closer 2"][p].into()
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if s.memory.has_buffered(p) {
            let mut t = *s;
            t.memory.drain_one(p);
            out.add(|| "its oldest store reaches memory".into(), t);
        }
        let mut t = *s;
        let label = if p < SENDERS { self.send(&mut t, p) } else { self.close(&mut t, p) };
        if let Some(label) = label {
            out.add(|| label.into(), t);
        }
    }

    /// The senders are one process.
    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let over = [At::Done, At::Dead].contains(&s.at[p]);
        if s.kills == 0 || over {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        if p >= SENDERS {
            t.at[p] = At::Dead;
            return Some(t);
        }
        t.at[..SENDERS].fill(At::Dead);
        t.killed_a_sender = true;
        (0..SENDERS).for_each(|p| t.memory.fence(p)); // known dead when its stores have arrived
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        let end = s.memory.visible(END);
        for (at, told) in s.told.iter().enumerate() {
            let before = end == 0 || at + 1 < usize::from(end);
            match told {
                Told::Sent if !before => return Err(format!("sent behind the end: {at}")),
                Told::Refused if end == 0 || before => return Err(format!("refused before the end: {at}")),
                _ => {}
            }
        }
        let counted = s.memory.visible(COUNTED);
        let sent = s.told.iter().filter(|told| **told == Told::Sent).count() as u8;
        let all_told = (0..SENDERS).all(|p| s.at[p] == At::Done);
        if counted > 0 && (sent >= counted || all_told && !s.killed_a_sender && sent + 1 != counted) {
            return Err(format!("{sent} sent, {} counted", counted - 1));
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        s.at.iter().all(|at| [At::Done, At::Dead].contains(at))
    }
}

mod tests {
    use super::*;

    fn alone(rounds: [u8; 2], closers: usize, planted: Planted) -> Alone {
        Alone { rounds, closers, kills: 1, planted }
    }

    #[test]
    fn what_was_sent_alone_is_counted_when_it_is_closed() {
        holds("one thread, two close", &alone([3, 0], 2, Planted::Nothing));
        holds("two threads, one closes", &alone([2, 2], 1, Planted::Nothing));
        holds("two threads, two close", &alone([2, 1], 2, Planted::Nothing));
    }

    #[test]
    fn without_membarrier_a_message_is_lost() {
        breaks("no membarrier", &alone([2, 0], 1, Planted::NoMembarrier), "sent");
    }

    #[test]
    fn without_a_look_a_message_is_lost() {
        breaks("no look", &alone([2, 0], 1, Planted::NoLook), "sent behind the end");
    }

    #[test]
    fn without_a_look_the_other_thread_loses_one() {
        breaks("others don't look", &alone([1, 1], 1, Planted::OthersDontLook), "sent behind the end");
    }

    #[test]
    fn a_message_refused_unasked_is_counted() {
        breaks("refused unasked", &alone([2, 0], 1, Planted::RefusedUnasked), "refused before the end");
    }

    #[test]
    fn closers_that_go_by_their_own_tails_count_wrongly() {
        breaks("ends of their own", &alone([2, 0], 2, Planted::EndsOfTheirOwn), "counted");
    }
}
