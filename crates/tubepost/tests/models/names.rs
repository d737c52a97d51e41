//! Who may take over a name. An object is a file (an inode); a directory maps the name to one.
//!
//! ```text
//! owner lock    kernel lock of the owning process; gone when it dies. Taken before the object has a name
//! byte 0        kernel lock for whoever unlinks it; gone when that one dies
//! life word     OPEN | RETIRED, never back
//! rows          one per user, registered
//! ```
//!
//! *Retiring* an object, by its owner that closes, by a taker of the name, by gc: lock byte 0;
//! check that the name *still* means this object; mark it RETIRED; wake its registered users;
//! unlink the name; unlock. All but the owner first ask whether the object's owner is alive, each
//! time anew.
//!
//! *Taker.* Build an object with its owner lock held, nameless. Link it. The name exists: open it;
//! the owner lives: the name is taken. Else retire that object. Whoever cannot lock byte 0, or
//! finds that the name means something else by now, or finds the name linked again: starts over.
//!
//! *Opener.* Open by name, register a row, *then* read the life word. RETIRED: open by name once
//! more. The owner dead: no such name.
//!
//! # Invariants
//! 1. An object is unlinked only by the holder of its byte 0 that saw the name mean it while
//!    holding: so the name still means it.
//! 2. An object whose owner lives is retired by that owner only: a verdict "dead" about an object
//!    stays true, since the owner lock is taken once, before there is a name.
//! 3. Whatever is not linked any more is RETIRED; whoever is attached to it has been told, or finds
//!    RETIRED after registering.
//!
//! # What if it dies here?
//! - holding byte 0, before RETIRED: the lock is gone, nothing happened.
//! - after RETIRED, before waking or unlinking: the name still means the object; its owner is dead
//!   or closing, and the next one does the same again. That is why waking comes before unlinking:
//!   nobody finds an object without a name.
//! - after unlinking: nothing is left to do. A nameless object vanishes with its last user.
//! - a taker before its link: its object never had a name.

use crate::explorer::{Model, Steps, breaks, holds};

/// Object `p` is the one that process `p` builds.
const MAX_PROCESSES: usize = 4;
const NOBODY: u8 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Owns the linked object from the start; may close it at any time.
    Owner,
    /// Wants the name; closes it again at any time, if `closes`.
    Taker {
        closes: bool,
    },
    /// Sweeps the name if its owner is dead.
    Gc,
    Opener,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Byte 0 is locked, but nobody looks whether the name still means that object.
    NoRecheck,
    /// A taker that found the owner dead once takes it for dead when it starts over.
    VerdictRemembered,
    /// No lock on byte 0.
    NoLock,
    /// The name goes first, then RETIRED.
    UnlinkFirst,
    /// Users are woken after the name is gone.
    WakeLast,
    /// The opener reads the life word, then registers.
    LifeReadBeforeRow,
    /// The object is linked first, its owner lock taken after that.
    LinkedBeforeLocked,
}

struct Names {
    roles: &'static [Role],
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Object {
    owner_alive: bool,
    byte_0: u8,
    retired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // taking
    Link,
    Open,
    AskOwner,
    TakeOwnerLock,
    Owning,
    // retiring
    LockByte0,
    Recheck,
    Retire,
    Wake,
    Unlink,
    Unlock,
    // opening
    Register,
    ReadLife,
    ReadLifeFirst,
    AskOwnerToo,
    Attached,
    //
    Exists,
    NoSuchName,
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    /// The object it has open.
    open: u8,
    /// An opener's row in `open`, and whether it knows that this object is retired.
    registered: bool,
    told: bool,
    /// `VerdictRemembered` only.
    verdict: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    /// What the name means.
    name: Option<u8>,
    objects: [Object; MAX_PROCESSES],
    processes: [Process; MAX_PROCESSES],
    kills: u8,
}

impl Process {
    fn at(at: At) -> Process {
        Process { at, open: NOBODY, registered: false, told: false, verdict: false }
    }
}

impl Names {
    /// Where `p` begins, and begins again.
    fn start(&self, p: usize) -> At {
        match self.roles[p] {
            Role::Owner => At::Owning,
            Role::Taker { .. } => At::Link,
            Role::Gc | Role::Opener => At::Open,
        }
    }

    fn start_over(&self, s: &mut State, p: usize) {
        let verdict = s.processes[p].verdict;
        s.processes[p] = Process { verdict, ..Process::at(self.start(p)) };
    }

    /// It owns the name, and has not begun to give it up.
    fn owns(&self, s: &State, p: usize) -> bool {
        let me = s.processes[p];
        let closing = matches!(me.at, At::LockByte0 | At::Recheck) && usize::from(me.open) == p;
        me.at == At::Owning || closing
    }

    fn take(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mine = p as u8;
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::Link if s.name.is_some() => {
                my.at = At::Open;
                out.add(|| "cannot link: the name exists".into(), t);
            }
            At::Link => {
                let locked = self.planted != Planted::LinkedBeforeLocked;
                *my = Process::at(if locked { At::Owning } else { At::TakeOwnerLock });
                t.name = Some(mine);
                t.objects[p].owner_alive = locked;
                out.add(|| format!("links object {mine}: owns the name"), t);
            }
            At::TakeOwnerLock => {
                my.at = At::Owning;
                t.objects[p].owner_alive = true;
                out.add(|| "takes its owner lock".into(), t);
            }
            At::Open => {
                let life_first = self.planted == Planted::LifeReadBeforeRow;
                match (s.name, self.roles[p]) {
                    (Some(object), role) => {
                        my.open = object;
                        my.at = match role {
                            Role::Opener if life_first => At::ReadLifeFirst,
                            Role::Opener => At::Register,
                            _ => At::AskOwner,
                        };
                    }
                    (None, Role::Taker { .. }) => my.at = At::Link,
                    (None, Role::Opener) => my.at = At::NoSuchName,
                    (None, _) => my.at = At::Done,
                }
                out.add(|| format!("opens the name: object {:?}", s.name), t);
            }
            At::AskOwner => {
                let alive = s.objects[usize::from(me.open)].owner_alive && !me.verdict;
                my.verdict = !alive && self.planted == Planted::VerdictRemembered;
                if alive {
                    let gc = self.roles[p] == Role::Gc;
                    *my = Process::at(if gc { At::Done } else { At::Exists });
                } else {
                    my.at = At::LockByte0;
                }
                out.add(|| format!("asks for the owner of {}: alive = {alive}", me.open), t);
            }
            At::Owning if self.roles[p] != (Role::Taker { closes: false }) => {
                (my.at, my.open) = (At::LockByte0, mine);
                out.add(|| "closes".into(), t);
            }
            _ => {}
        }
    }

    fn retire(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        if !matches!(me.at, At::LockByte0 | At::Recheck | At::Retire | At::Wake | At::Unlink | At::Unlock) {
            return;
        }
        let object = usize::from(me.open);
        let unlink_first = self.planted == Planted::UnlinkFirst;
        let wake_last = self.planted == Planted::WakeLast;
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::LockByte0 => {
                let locked = s.objects[object].byte_0 == NOBODY || self.planted == Planted::NoLock;
                if locked {
                    my.at = if self.planted == Planted::NoRecheck { At::Retire } else { At::Recheck };
                    t.objects[object].byte_0 = p as u8;
                } else if self.roles[p] == Role::Gc {
                    *my = Process::at(At::Done);
                } else if !self.owns(s, p) {
                    self.start_over(&mut t, p);
                }
                out.add(|| format!("locks byte 0 of {object}: {locked}"), t);
            }
            At::Recheck => {
                let same = s.name == Some(me.open);
                my.at = match same {
                    true if unlink_first => At::Unlink,
                    true => At::Retire,
                    false => At::Unlock,
                };
                out.add(|| format!("checks that the name still means {object}: {same}"), t);
            }
            At::Retire => {
                my.at = match () {
                    () if unlink_first => At::Unlock,
                    () if wake_last => At::Unlink,
                    () => At::Wake,
                };
                t.objects[object].retired = true;
                out.add(|| format!("marks {object} RETIRED"), t);
            }
            At::Wake => {
                my.at = if wake_last { At::Unlock } else { At::Unlink };
                for user in &mut t.processes {
                    user.told |= user.registered && user.open == me.open;
                }
                out.add(|| format!("wakes the users of {object}"), t);
            }
            At::Unlink => {
                my.at = match () {
                    () if unlink_first => At::Retire,
                    () if wake_last => At::Wake,
                    () => At::Unlock,
                };
                t.name = None;
                out.add(|| format!("unlinks the name (it meant {:?})", s.name), t);
            }
            At::Unlock => {
                if t.objects[object].byte_0 == p as u8 {
                    t.objects[object].byte_0 = NOBODY;
                }
                match (object == p, self.roles[p]) {
                    (true, _) => {
                        t.objects[p].owner_alive = false;
                        t.processes[p] = Process::at(At::Done);
                    }
                    (false, Role::Gc) => t.processes[p] = Process::at(At::Done),
                    (false, _) => self.start_over(&mut t, p),
                }
                out.add(|| format!("unlocks byte 0 of {object}"), t);
            }
            _ => {}
        }
    }

    fn open(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let life_first = self.planted == Planted::LifeReadBeforeRow;
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::Register => {
                my.registered = true;
                my.at = if life_first { At::AskOwnerToo } else { At::ReadLife };
                out.add(|| format!("registers a row in {}", me.open), t);
            }
            At::ReadLife | At::ReadLifeFirst => {
                let retired = s.objects[usize::from(me.open)].retired;
                my.at = if life_first { At::Register } else { At::AskOwnerToo };
                if retired {
                    // Still there under the same name: its owner is dead, or has closed it. Neither
                    // is worth waiting for.
                    let same = s.name == Some(me.open);
                    *my = Process::at(if same { At::NoSuchName } else { At::Open });
                }
                out.add(|| format!("reads the life word of {}: RETIRED = {retired}", me.open), t);
            }
            At::AskOwnerToo => {
                let alive = s.objects[usize::from(me.open)].owner_alive;
                if alive {
                    my.at = At::Attached;
                } else {
                    *my = Process::at(At::NoSuchName);
                }
                out.add(|| format!("asks for the owner of {}: alive = {alive}", me.open), t);
            }
            _ => {}
        }
    }
}

impl Model for Names {
    type State = State;

    fn initial(&self) -> State {
        let object = Object { owner_alive: false, byte_0: NOBODY, retired: false };
        let mut s = State {
            name: None,
            objects: [object; MAX_PROCESSES],
            processes: [Process::at(At::Done); MAX_PROCESSES],
            kills: self.kills,
        };
        for (p, role) in self.roles.iter().enumerate() {
            s.processes[p].at = self.start(p);
            if *role == Role::Owner {
                s.name = Some(p as u8);
                s.objects[p].owner_alive = true;
            }
        }
        s
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Owner => format!("owner {p}"),
            Role::Taker { .. } => format!("taker {p}"),
            Role::Gc => format!("gc {p}"),
            Role::Opener => format!("opener {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        self.take(s, p, out);
        self.retire(s, p, out);
        self.open(s, p, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || matches!(s.processes[p].at, At::Dead | At::Done | At::Exists | At::NoSuchName) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = Process::at(At::Dead);
        t.objects[p].owner_alive = false;
        for object in &mut t.objects {
            if usize::from(object.byte_0) == p {
                object.byte_0 = NOBODY;
            }
        }
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        for p in 0..self.roles.len() {
            let me = s.processes[p];
            let linked = |object: u8| s.name == Some(object);
            if (self.owns(s, p) || me.at == At::TakeOwnerLock) && !linked(p as u8) {
                return Err(format!("the name of {}, which lives, is gone", self.name(p)));
            }
            if me.at == At::Owning && s.objects[p].retired {
                return Err(format!("the object of {}, which lives, is RETIRED", self.name(p)));
            }
            if me.at != At::Attached {
                continue;
            }
            let object = s.objects[usize::from(me.open)];
            if !linked(me.open) && !object.retired {
                return Err("attached to an object without a name that is not RETIRED".into());
            }
            let retiring = s.processes.iter().any(|q| matches!(q.at, At::Wake) && q.open == me.open);
            if object.retired && !linked(me.open) && !me.told && !retiring {
                return Err("attached to a retired object and never told".into());
            }
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let owned =
            |at| matches!(at, At::Owning | At::Attached | At::Exists | At::NoSuchName | At::Done | At::Dead);
        s.processes.iter().all(|p| owned(p.at)) && s.objects.iter().all(|o| o.byte_0 == NOBODY)
    }
}

mod tests {
    use super::*;

    const TAKER: Role = Role::Taker { closes: false };
    const BRIEF: Role = Role::Taker { closes: true };
    const TAKEN_TWICE: &[Role] = &[Role::Owner, TAKER, TAKER];
    const ALL: &[Role] = &[Role::Owner, TAKER, TAKER, Role::Gc];
    const ALL_BRIEF: &[Role] = &[Role::Owner, BRIEF, BRIEF, Role::Gc];
    const OPENED: &[Role] = &[Role::Owner, BRIEF, BRIEF, Role::Opener];
    const OPENED_GC: &[Role] = &[Role::Owner, BRIEF, Role::Gc, Role::Opener];
    const JUST_OPENED: &[Role] = &[Role::Owner, Role::Gc, Role::Opener];

    fn names(roles: &'static [Role], kills: u8, planted: Planted) -> Names {
        Names { roles, kills, planted }
    }

    #[test]
    fn takers_and_gc_hold() {
        holds("names, two takers and gc", &names(ALL, 3, Planted::Nothing));
        holds("names, takers that close", &names(ALL_BRIEF, 3, Planted::Nothing));
    }

    #[test]
    fn openers_hold() {
        holds("names, two takers and an opener", &names(OPENED, 3, Planted::Nothing));
        holds("names, taker, gc and an opener", &names(OPENED_GC, 3, Planted::Nothing));
    }

    #[test]
    fn without_the_recheck_takers_unlink_each_other() {
        breaks("no re-check", &names(TAKEN_TWICE, 1, Planted::NoRecheck), "which lives, is gone");
    }

    #[test]
    fn without_the_lock_takers_unlink_each_other() {
        breaks("no lock", &names(TAKEN_TWICE, 1, Planted::NoLock), "which lives, is gone");
    }

    #[test]
    fn a_remembered_verdict_unlinks_the_living() {
        breaks("verdict remembered", &names(TAKEN_TWICE, 1, Planted::VerdictRemembered), "which lives, is");
    }

    #[test]
    fn unlinking_first_leaves_users_behind() {
        breaks("unlink first", &names(JUST_OPENED, 1, Planted::UnlinkFirst), "without a name");
    }

    #[test]
    fn waking_last_leaves_users_asleep() {
        breaks("wake last", &names(JUST_OPENED, 1, Planted::WakeLast), "never told");
    }

    #[test]
    fn reading_the_life_word_before_registering_leaves_users_asleep() {
        breaks("life word first", &names(JUST_OPENED, 1, Planted::LifeReadBeforeRow), "never told");
    }

    #[test]
    fn an_object_linked_before_it_is_locked_is_taken_for_dead() {
        breaks("linked before locked", &names(ALL, 1, Planted::LinkedBeforeLocked), "which lives, is");
    }
}
