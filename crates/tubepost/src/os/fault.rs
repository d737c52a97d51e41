//! Mappings of files that may fail under one's hands: a disk that can't be read, a file that somebody cut off.
//!
//! The kernel says so by SIGBUS, which ends a process. For mappings that are registered here a handler puts a page of zeros, of
//! this process alone, in the place of the one that is not there, and notes that the mapping is [lost](Guard::is_lost). The
//! instruction then goes on; whoever made it asks before believing anything. Every other SIGBUS goes where it
//! went before: to the handler that was there, or to the end.
//!
//! The handler only reads atomics, calls `mmap`, and keeps `errno`. A slot is registered before its mapping is touched, and freed after it is
//! unmapped.
//!
//! **Limits.** A library that puts its own handler over this one without calling it takes the guard away.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Once;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};

const SLOTS: usize = 64;

/// One mapping: free while `start` is 0.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
}

/// Slots are never given back to the allocator: the handler may walk over them at any time.
struct Block {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Block>,
}

impl Block {
    const fn new() -> Block {
        Block { slots: [const { Slot::free() }; SLOTS], next: AtomicPtr::new(std::ptr::null_mut()) }
    }
}

impl Slot {
    const fn free() -> Slot {
        Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), lost: AtomicBool::new(false) }
    }
}

static FIRST: Block = Block::new();

/// What was there before; written once, before the handler is.
struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written by `install` alone, before the handler that reads it is in place.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::zeroed()));

/// A range of addresses where the loss of a page is noted.
#[derive(Debug)]
pub(crate) struct Guard {
    slot: &'static Slot,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.load(Acquire), self.end.load(Acquire))
    }
}

impl Guard {
    /// Guards a mapping, which is not touched before this returns, and unmapped before the guard is dropped.
    pub(crate) fn over(start: usize, length: usize) -> Guard {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let mut block = &FIRST;
        loop {
            for slot in &block.slots {
                // 1 while it is filled in: no address is in a range that begins there and has no end.
                if slot.start.load(Acquire) == 0 && slot.start.compare_exchange(0, 1, AcqRel, Acquire).is_ok()
                {
                    slot.lost.store(false, Release);
                    slot.end.store(start + length, Release);
                    slot.start.store(start, SeqCst);
                    return Guard { slot };
                }
            }
            block = next(block);
        }
    }

    /// Whether some of it is not what is in the file.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.slot.lost.load(Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.end.store(0, Release);
        self.slot.start.store(0, Release);
    }
}

/// The block behind this one, made if there is none.
fn next(block: &'static Block) -> &'static Block {
    let known = block.next.load(Acquire);
    let next = if known.is_null() {
        let fresh = Box::into_raw(Box::new(Block::new()));
        match block.next.compare_exchange(std::ptr::null_mut(), fresh, AcqRel, Acquire) {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: just made here, and nobody else saw it.
                drop(unsafe { Box::from_raw(fresh) });
                other
            }
        }
    } else {
        known
    };
    // SAFETY: made by `Box::into_raw`, and never freed.
    unsafe { &*next }
}

fn find(address: usize) -> Option<&'static Slot> {
    let mut block = &FIRST;
    loop {
        let hit = |slot: &&Slot| {
            let start = slot.start.load(Acquire);
            start > 1 && start <= address && address < slot.end.load(Acquire)
        };
        if let Some(slot) = block.slots.iter().find(hit) {
            return Some(slot);
        }
        let next = block.next.load(Acquire);
        if next.is_null() {
            return None;
        }
        // SAFETY: as in `next`.
        block = unsafe { &*next };
    }
}

fn install() {
    // SAFETY: a sigaction of zeros is one, and is filled in; `BEFORE` is read by the handler only, which is in place after
    // `sigaction` has written what was there.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        // First only to read, for the handler may run as soon as it is in place.
        libc::sigaction(libc::SIGBUS, std::ptr::null(), (*BEFORE.0.get()).as_mut_ptr());
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    const PAGE: usize = 4096;
    // SAFETY: the kernel gives a valid siginfo with SA_SIGINFO; of SIGBUS it has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(slot) = find(address) {
        slot.lost.store(true, SeqCst);
        // SAFETY: one page within a mapping that a guard is over, and that lives as long as the guard; nothing but this module's users
        // looks there, by atomics and the copy routines, and they ask whether it is lost.
        let done = unsafe {
            let errno = libc::__errno_location();
            let kept = *errno;
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let at = (address & !(PAGE - 1)) as *mut libc::c_void;
            let done = libc::mmap(at, PAGE, access, flags, -1, 0);
            *errno = kept;
            done
        };
        if done != libc::MAP_FAILED {
            return;
        }
    }
    // SAFETY: written before this handler was in place, and never again; what it says of its handler's kind is the kernel's word.
    unsafe {
        let before = (*BEFORE.0.get()).assume_init_ref();
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                // The instruction is made again, and this time it ends the process.
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
