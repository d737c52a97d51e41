//! Setting up a link from both sides at once, by lives of processes that may end and be followed by others of their
//! names.
//!
//! ```text
//! meet      who has the peer's name, and lives? that life is meant, and no other
//! twice, the same way first whoever begins:
//!   open    the way between these two lives: it is there: it has to be what is wanted
//!   make    it is not: it is given its name, whole, unless that is taken by now: open again
//!           (the second way is what the first one is, where nothing else was chosen)
//! then      the peer is gone: has its name nobody, another life, or one that is dead? The link is over; meet again
//! ```
//!
//! # Invariants
//! 1. Between two lives there is one segment for each way, and both have the same ones.
//! 2. Nobody uses a segment of another life.
//! 3. Who is first at the first way is not refused; nor is who leaves open what it is to be.
//!
//! # What if it dies here?
//! The other one has a link with a dead one, which is over; what there is of it has a name that comes never again.

use crate::explorer::{Model, Steps, breaks, holds};

const LIVES: usize = 3;
/// The second process of the same name as the first one, when that is dead.
const FIRST: usize = 0;
const OTHER: usize = 1;
const AGAIN: usize = 2;
/// What is chosen by nobody.
const USUAL: u8 = 9;
/// More segments are never made.
const MOST: u8 = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Each begins with its own way there.
    OwnWayFirst,
    /// Who is second chooses anew what the second way is.
    SecondWayAnew,
    /// A name that is taken is given to what comes second.
    Replaces,
    /// The name of a way does not say between which lives.
    NamesWithoutLives,
    /// Whoever lives and has the name is taken for the peer.
    AnyLife,
}

struct Linking {
    /// What each of both wants it to be, or nothing.
    wants: [Option<u8>; 2],
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Way {
    id: u8,
    is: u8,
    /// Which life of the two-lived name it was made for.
    of: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// Its name is another one's, who lives.
    Join,
    Meet,
    Open(u8),
    Make(u8),
    Linked,
    Refused,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    peer: u8,
    has: [Option<Way>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    processes: [Process; LIVES],
    /// Which life has the name that two have, one after the other.
    named: u8,
    /// By life of that name, and by way: from it, and to it.
    ways: [[Option<Way>; 2]; 2],
    made: u8,
    kills: u8,
    wrong: Option<&'static str>,
}

/// Which of the two lives of one name, of two that link.
fn life(p: usize, peer: u8) -> usize {
    let one = if p == OTHER { usize::from(peer) } else { p };
    usize::from(one == AGAIN)
}

impl Linking {
    fn wants(&self, p: usize) -> Option<u8> {
        self.wants[usize::from(p == OTHER)]
    }

    /// Which way comes first, and which second.
    fn way(&self, p: usize, step: u8) -> usize {
        let swapped = self.planted == Planted::OwnWayFirst && p == OTHER;
        usize::from((step == 1) != swapped)
    }

    fn set_up(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let of = if self.planted == Planted::NamesWithoutLives { 0 } else { life(p, me.peer) };
        match me.at {
            At::Open(step) => {
                let way = self.way(p, step);
                let my = &mut t.processes[p];
                match s.ways[of][way] {
                    None => my.at = At::Make(step),
                    Some(there) => {
                        let refused = self.wants(p).is_some_and(|wants| wants != there.is);
                        my.has[way] = Some(there);
                        my.at = match (refused, step) {
                            (true, _) => At::Refused,
                            (false, 0) => At::Open(1),
                            (false, _) => At::Linked,
                        };
                        if usize::from(there.of) != life(p, me.peer) {
                            t.wrong = Some("it has a segment of another life");
                        } else if refused && step == 1 {
                            t.wrong = Some("who came first is refused");
                        }
                    }
                }
                out.add(|| format!("opens way {way} of life {of}"), t);
            }
            At::Make(step) => {
                let way = self.way(p, step);
                let first = me.has[self.way(p, 0)].filter(|_| self.planted != Planted::SecondWayAnew);
                let is = self.wants(p).or(first.map(|first| first.is)).unwrap_or(USUAL);
                if s.ways[of][way].is_some() && self.planted != Planted::Replaces {
                    t.processes[p].at = At::Open(step);
                    out.add(|| format!("way {way} of life {of} was just made"), t);
                    return;
                }
                let made = Way { id: s.made, is, of: life(p, me.peer) as u8 };
                t.made += 1;
                t.ways[of][way] = Some(made);
                t.processes[p].has[way] = Some(made);
                t.processes[p].at = if step == 0 { At::Open(1) } else { At::Linked };
                out.add(|| format!("makes way {way} of life {of}"), t);
            }
            _ => {}
        }
    }

    fn is_alive(s: &State, p: usize) -> bool {
        !matches!(s.processes[p].at, At::Dead | At::Join)
    }

    /// Whether this one finds its peer gone.
    fn finds_gone(&self, s: &State, p: usize) -> bool {
        let peer = usize::from(s.processes[p].peer);
        if p == OTHER {
            let named = usize::from(s.named);
            let same = named == peer || self.planted == Planted::AnyLife;
            return !same || !Linking::is_alive(s, named);
        }
        !Linking::is_alive(s, OTHER)
    }
}

impl Model for Linking {
    type State = State;

    fn initial(&self) -> State {
        let process = Process { at: At::Meet, peer: 0, has: [None; 2] };
        let mut processes = [process; LIVES];
        processes[AGAIN].at = At::Join;
        let ways = [[None; 2]; 2];
        State { processes, named: FIRST as u8, ways, made: 0, kills: self.kills, wrong: None }
    }

    fn processes(&self) -> usize {
        LIVES
    }

    fn name(&self, p: usize) -> String {
        ["alice", "bob", "the next alice"][p].into()
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        match s.processes[p].at {
            At::Join if s.processes[FIRST].at == At::Dead => {
                (t.named, t.processes[p].at) = (p as u8, At::Meet);
                out.add(|| "takes the dead one's name".into(), t);
            }
            At::Meet => {
                let peer = if p == OTHER { s.named } else { OTHER as u8 };
                if Linking::is_alive(s, usize::from(peer)) {
                    t.processes[p] = Process { at: At::Open(0), peer, has: [None; 2] };
                    out.add(|| "meets its peer".into(), t);
                }
            }
            At::Linked if self.finds_gone(s, p) => {
                t.processes[p].at = At::Meet;
                out.add(|| "finds its peer gone".into(), t);
            }
            _ => self.set_up(s, p, out),
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || !Linking::is_alive(s, p) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p].at = At::Dead;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if let Some(wrong) = s.wrong {
            return Err(wrong.into());
        }
        if s.made > MOST {
            return Err("segments without end".into());
        }
        let bob = s.processes[OTHER];
        for p in [FIRST, AGAIN] {
            let alice = s.processes[p];
            if usize::from(bob.peer) != p {
                continue;
            }
            if alice.at == At::Refused && bob.at == At::Refused {
                return Err("both are refused".into());
            }
            if alice.at == At::Linked && bob.at == At::Linked && alice.has != bob.has {
                return Err("two that are linked have two links".into());
            }
        }
        for p in [FIRST, OTHER, AGAIN] {
            if s.processes[p].at == At::Refused && self.wants(p).is_none() {
                return Err("who leaves it open is refused".into());
            }
        }
        Ok(())
    }

    /// Who lives is linked with somebody who lives, or was refused, or has nobody to meet.
    fn done(&self, s: &State) -> bool {
        (0..LIVES).all(|p| match s.processes[p].at {
            At::Linked => Linking::is_alive(s, usize::from(s.processes[p].peer)),
            At::Meet if p == OTHER => !Linking::is_alive(s, usize::from(s.named)),
            At::Meet => !Linking::is_alive(s, OTHER),
            At::Join => s.processes[FIRST].at != At::Dead,
            at => matches!(at, At::Refused | At::Dead),
        })
    }
}

mod tests {
    use super::*;

    const OPEN: [Option<u8>; 2] = [Some(1), None];
    const SAME: [Option<u8>; 2] = [Some(1), Some(1)];
    const OTHERWISE: [Option<u8>; 2] = [Some(1), Some(2)];

    fn linking(wants: [Option<u8>; 2], kills: u8, planted: Planted) -> Linking {
        Linking { wants, kills, planted }
    }

    #[test]
    fn both_come_to_one_link_or_one_is_refused() {
        for wants in [OPEN, SAME, OTHERWISE, [None, None]] {
            for kills in 0..3 {
                holds("linking", &linking(wants, kills, Planted::Nothing));
            }
        }
    }

    #[test]
    fn who_begins_with_its_own_way_refuses_and_is_refused() {
        breaks("own way first", &linking(OTHERWISE, 0, Planted::OwnWayFirst), "refused");
    }

    #[test]
    fn the_second_way_is_what_the_first_one_is() {
        breaks("second way anew", &linking(OPEN, 0, Planted::SecondWayAnew), "who came first is refused");
    }

    #[test]
    fn a_name_is_given_once() {
        breaks("replaces", &linking(SAME, 0, Planted::Replaces), "have two links");
    }

    #[test]
    fn the_name_of_a_way_says_between_which_lives() {
        breaks("names without lives", &linking(SAME, 1, Planted::NamesWithoutLives), "another life");
    }

    #[test]
    fn another_life_of_the_same_name_is_not_the_peer() {
        breaks("any life", &linking(SAME, 1, Planted::AnyLife), "nobody");
    }
}
