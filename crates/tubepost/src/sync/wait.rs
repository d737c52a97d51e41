//! Sleeping until somebody publishes something, and waking those who sleep.
//!
//! A [`Bell`] is a word (sequence, asleep?) in shared memory for one reason to wait:
//! messages, room, the end.
//!
//! ```text
//! sleeper                                     publisher
//!   word not asleep: CAS -> (seq + 1, asleep)   publish (a plain store)
//!   make sure that publishers fence             look at `fence`; unless NONE: full fence
//!   look again at what it waits for             look at word: nobody asleep -> done
//!   futex sleep on exactly that word            CAS word -> (seq + 1, nobody), futex wake all
//! ```
//!
//! **No lost wake-up.** The publisher's store must be visible before it reads the word, or
//! the sleeper's word before it looks again: one side needs a full fence *between*. A fence
//! per message costs a sole sender most of its rate, so by default the sleeper pays: the
//! `fence` word says who does. It is (epoch, state):
//!
//! | state | publishers | a sleeper that reads it |
//! |---|---|---|
//! | NONE | no fence | CAS to SETTING, a barrier on every CPU (`membarrier`), CAS to SET |
//! | SETTING | fence | the same barrier and CAS: whoever set it may be stopped or dead |
//! | SET | fence | nothing: publishers fence since before it looked |
//! | PINNED | fence, for good | nothing: some member cannot be reached by the barrier |
//!
//! PINNED is reached the way SET is, except that the member which can't issue the barrier
//! lets [`GRACE`] pass instead: no processor holds a store back that long. A publisher reads
//! `fence` before the word, in that order.
//!
//! **Whom to wake.** A bell wakes all its sleepers, or ([`Wakes::One`], where receivers compete)
//! the one that has slept longest: the kernel keeps them in order. Then the word stays asleep,
//! and who finds nobody in the kernel's queue CASes it to (seq + 1, nobody) and wakes all: one who was
//! about to sleep finds the word changed, one who just fell asleep is woken. One wake may meet
//! a sleeper who finds the message gone, or, published out of order, not the next one yet. So
//! whoever takes a message while somebody sleeps looks whether there is another and, if so,
//! passes the wake on.
//!
//! A publisher that met no sleeper in [`QUIET`] messages CASes SET back to NONE with the
//! next epoch. A sleeper writes its word *before* it reads `fence`: if it then reads SET, a
//! later reset comes after its word, so whoever reads NONE after that sees it asleep. The
//! epoch keeps a slow sleeper's CAS to SET from vouching for a barrier of a later round.
//!
//! **What if it dies here?** A sleeper that dies leaves `asleep` set: one needless wake. A
//! publisher that dies between publishing and waking leaves others asleep; nobody sleeps
//! longer than [`SLICE`] without looking again, and a death that a watch sees wakes all by
//! [`Bell::alarm`], which does not believe the word. The same if the one who was woken dies, or is stopped.
//! A setter that dies in SETTING: see the table.
//!
//! Who waits for a descriptor and not on the word is woken by way of a door: see [`doors`](super::doors).

use super::atomic::{AtomicU32, Ordering, fence};
use super::kernel;
use std::time::{Duration, Instant};

/// Nobody sleeps longer than this without looking again.
pub(crate) const SLICE: Duration = Duration::from_secs(1);
/// After this many messages without a sleeper, publishers stop fencing.
const QUIET: u32 = 4096;
/// After so long every store has become visible, barrier or not.
const GRACE: Duration = Duration::from_millis(5);
/// Between two looks at the clock while spinning.
const POLLS: u32 = 32;

/// Who looks closely looks so often without a pause: for a few hundred nanoseconds, or, finely, a microsecond.
const CLOSELY: u32 = 256;
/// So many times round is a moment.
const MOMENT: u32 = 16;

const ASLEEP: u32 = 1;

const NONE: u32 = 0;
const SETTING: u32 = 1;
const SET: u32 = 2;
const PINNED: u32 = 3;

fn state(fence: u32) -> u32 {
    fence & 3
}

fn next_epoch(fence: u32) -> u32 {
    (fence & !3).wrapping_add(4) | NONE
}

/// One reason to wait, as every process sees it.
#[derive(Clone, Copy)]
pub(crate) struct Bell<'a> {
    word: &'a AtomicU32,
    fence: &'a AtomicU32,
    wakes: Wakes,
    doors: Option<(&'a dyn Doors, u32)>,
}

/// Those who wait for a descriptor.
pub(crate) trait Doors {
    /// Rings all doors that are armed for this reason.
    fn ring(&self, reason: u32);
}

/// How many sleepers an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakes {
    All,
    One,
}

/// How many messages this handle published since it last met a sleeper.
#[derive(Debug, Default)]
pub(crate) struct Quiet(std::sync::atomic::AtomicU32);

impl<'a> Bell<'a> {
    pub(crate) fn new(word: &'a AtomicU32, fence: &'a AtomicU32, wakes: Wakes) -> Bell<'a> {
        Bell { word, fence, wakes, doors: None }
    }

    /// The same, for those too who wait for this reason at a door.
    #[inline]
    pub(crate) fn and(self, doors: &'a dyn Doors, reason: u32) -> Bell<'a> {
        Bell { doors: Some((doors, reason)), ..self }
    }

    /// Whether somebody may sleep here.
    #[inline]
    pub(crate) fn has_sleepers(self) -> bool {
        self.word.load(Ordering::Relaxed) & ASLEEP != 0
    }

    /// Publishers must fence from now on, for good. Exchange nothing before this returns.
    pub(crate) fn pin(fence: &AtomicU32) {
        loop {
            let seen = fence.load(Ordering::SeqCst);
            let swap = |to| fence.compare_exchange(seen, to, Ordering::SeqCst, Ordering::SeqCst);
            match state(seen) {
                PINNED => return,
                NONE => {
                    let _ = swap(seen & !3 | SETTING);
                }
                SET => {
                    let _ = swap(seen & !3 | PINNED);
                }
                _ => {
                    std::thread::sleep(GRACE);
                    let _ = swap(seen & !3 | PINNED);
                }
            }
        }
    }

    /// Makes sure that every member sees what this one stored before, or that this one sees what that one stored before
    /// it looked.
    pub(crate) fn everybody_sees(word: &AtomicU32) {
        fence(Ordering::SeqCst);
        if state(word.load(Ordering::SeqCst)) == PINNED || !kernel::barrier_everywhere() {
            std::thread::sleep(GRACE);
        }
        fence(Ordering::SeqCst);
    }

    /// Whether nobody sleeps at this word, and nobody has to fence to know that. The caller has just published. (What
    /// [`ring`](Self::ring) finds too; here there is no bell that has to be put somewhere.)
    #[inline(always)]
    pub(crate) fn is_quiet(word: &AtomicU32, fence: &AtomicU32) -> bool {
        // The processor may still hold the published store back; the compiler must not.
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        state(fence.load(Ordering::Acquire)) == NONE && word.load(Ordering::Acquire) & ASLEEP == 0
    }

    /// Wakes the sleepers, if any. The caller has just published what they wait for.
    #[inline]
    pub(crate) fn ring(self, quiet: &Quiet) {
        if Bell::is_quiet(self.word, self.fence) {
            return;
        }
        let seen = self.fence.load(Ordering::Acquire);
        let sleeps = match state(seen) {
            NONE => self.word.load(Ordering::Acquire) & ASLEEP != 0,
            _ => sleeps_after_a_fence(self.word, self.fence, seen, quiet),
        };
        if sleeps {
            self.wake();
        }
    }

    /// Wakes whoever sleeps here. For rare events; [`ring`](Self::ring) is for messages.
    #[cold]
    pub(crate) fn wake(self) {
        let mut word = self.word.load(Ordering::SeqCst);
        while word & ASLEEP != 0 {
            if self.wakes == Wakes::One && kernel::wake_one(self.word) {
                self.ring_doors();
                return;
            }
            let awake = (word & !ASLEEP).wrapping_add(2);
            match self.word.compare_exchange(word, awake, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    self.ring_doors();
                    kernel::wake_all(self.word);
                    return;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Not before the word says that nobody sleeps, or one was woken and it says still that others do: who arms its
    /// door after this walk, and joins in a word that is about to be cleared, would wait for nobody.
    fn ring_doors(self) {
        planted!(DoorNotRung => return);
        if let Some((doors, reason)) = self.doors {
            doors.ring(reason);
        }
    }

    /// Says "asleep" and makes sure that publishers will see it. The caller then looks
    /// again, and sleeps on the value returned. Where somebody sleeps already it joins him:
    /// with a new value each would keep the other from ever falling asleep.
    pub(crate) fn register(self) -> u32 {
        let mut word = self.word.load(Ordering::SeqCst);
        loop {
            if word & ASLEEP != 0 {
                self.arm();
                return word;
            }
            let asleep = (word | ASLEEP).wrapping_add(2);
            match self.word.compare_exchange(word, asleep, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    self.arm();
                    return asleep;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Wakes everybody, whatever the word says: after a death the word may say that nobody
    /// sleeps although the one who was to wake them died before doing so.
    #[cold]
    pub(crate) fn alarm(self) {
        let mut word = self.word.load(Ordering::SeqCst);
        loop {
            let awake = (word & !ASLEEP).wrapping_add(2);
            match self.word.compare_exchange(word, awake, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        self.ring_doors();
        kernel::wake_all(self.word);
    }

    fn arm(self) {
        let mut seen = self.fence.load(Ordering::SeqCst);
        if state(seen) == NONE {
            let setting = seen & !3 | SETTING;
            seen = match self.fence.compare_exchange(seen, setting, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => setting,
                Err(now) => now,
            };
        }
        match state(seen) {
            // Reset under our hands: the reset came after our word, so everyone sees it. The
            // fence is this side's: between our word and the second look. (A locked
            // instruction is one on x86; the language promises less.)
            NONE | SET | PINNED => fence(Ordering::SeqCst),
            _ => {
                if kernel::barrier_everywhere() {
                    let set = seen & !3 | SET;
                    let _ = self.fence.compare_exchange(seen, set, Ordering::SeqCst, Ordering::SeqCst);
                } else {
                    Bell::pin(self.fence);
                }
            }
        }
    }

    /// Sleeps until `attempt` gives something, at the latest until `deadline` (`None`: no
    /// limit). `look` is asked before each sleep; it does what is too dear for every
    /// attempt, and says how long to sleep at most, or what to return.
    pub(crate) fn wait<R>(
        self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<R>,
        mut look: impl FnMut() -> Result<Duration, R>,
    ) -> Option<R> {
        loop {
            let asleep = self.register();
            if let Some(done) = attempt() {
                return Some(done);
            }
            let mut longest = match look() {
                Ok(longest) => longest.min(SLICE),
                Err(done) => return Some(done),
            };
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return attempt();
                }
                longest = longest.min(left);
            }
            kernel::sleep(self.word, asleep, longest);
            if let Some(done) = attempt() {
                return Some(done);
            }
        }
    }
}

/// Whether somebody sleeps; the caller published before, and fences for the sake of sleepers.
#[inline(never)]
fn sleeps_after_a_fence(word: &AtomicU32, fences: &AtomicU32, seen: u32, quiet: &Quiet) -> bool {
    fence(Ordering::SeqCst);
    if word.load(Ordering::Acquire) & ASLEEP != 0 {
        quiet.0.store(0, Ordering::Relaxed);
        return true;
    }
    let messages = quiet.0.load(Ordering::Relaxed) + 1;
    if messages < QUIET {
        quiet.0.store(messages, Ordering::Relaxed);
        return false;
    }
    quiet.0.store(0, Ordering::Relaxed);
    if state(seen) == SET {
        let next = next_epoch(seen);
        let _ = fences.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed);
    }
    false
}

/// Sleeps on all of these bells, each as it was when the caller registered there, until one of them rings; the
/// caller looked again meanwhile. `false`: the system can't sleep on so many words.
#[cfg(not(loom))]
pub(crate) fn sleep_at(bells: &[(Bell<'_>, u32)], longest: Duration) -> bool {
    let words = bells.iter().map(|(bell, asleep)| (bell.word, *asleep));
    kernel::sleep_on_any(words, longest.min(SLICE))
}

/// Some 5 ns. A processor's own pause takes half as long as the way from another one, and on some much longer.
#[inline(always)]
pub(crate) fn pass_a_moment() {
    (0..MOMENT).for_each(|round| {
        std::hint::black_box(round);
    });
}

/// As [`poll`], for what most probably comes at once: without a pause at first.
#[inline(always)]
pub(crate) fn poll_closely(spin: Duration, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
    poll_after(spin, deadline, &ready, || (0..CLOSELY).any(|_| ready()))
}

/// The same for what is in a line that who makes it ready writes more than once: whoever looks takes it from him.
#[inline(always)]
pub(crate) fn poll_finely(spin: Duration, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
    let look = |_| {
        let done = ready();
        if !done {
            pass_a_moment();
        }
        done
    };
    poll_after(spin, deadline, &ready, || (0..CLOSELY).any(look))
}

/// Asks again and again for a while; `false` if it is not ready by then.
pub(crate) fn poll(spin: Duration, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
    poll_after(spin, deadline, &ready, || false)
}

#[inline(always)]
fn poll_after(
    spin: Duration,
    deadline: Option<Instant>,
    ready: &impl Fn() -> bool,
    at_first: impl FnOnce() -> bool,
) -> bool {
    let start = Instant::now();
    let spin = deadline.map_or(spin, |deadline| spin.min(deadline.saturating_duration_since(start)));
    if spin.is_zero() {
        return false; // the deadline has passed: who loses every race must not try for ever
    }
    if at_first() {
        return true;
    }
    loop {
        for _ in 0..POLLS {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() >= spin {
            return false;
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models;
