//! Errors on purpose, only in a build with `--cfg planted`: proof that what looks for errors finds them.
//!
//! Each of them is a small edit that a tired person could make, at the place where it would be made: `planted!(Error)`
//! tells whether it is chosen, `planted!(Error => code)` has the code only then. A build with the cfg has all of them; the
//! variable `TUBEPOST_PLANTED` chooses one, or none, when a process starts. In a build without it the first form is `false`
//! and the second one nothing. `stepkill planted` tries them all; docs/stepkill.md has the list.

/// Whether this error is chosen; or does this if it is.
#[cfg(planted)]
macro_rules! planted {
    ($error:ident) => {
        $crate::planted::is($crate::planted::Planted::$error)
    };
    ($error:ident => $($broken:tt)*) => {
        if planted!($error) { $($broken)* }
    };
}

/// No error is.
#[cfg(not(planted))]
macro_rules! planted {
    ($error:ident) => {
        false
    };
    ($error:ident => $($broken:tt)*) => {};
}

#[cfg(planted)]
pub use chosen::names;
#[cfg(planted)]
pub(crate) use chosen::{Planted, ever_dead, is, waited_long_for};

#[cfg(planted)]
mod chosen {
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::{Duration, Instant};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Planted {
        /// A message is published, and then written.
        PublishBeforeCopy,
        /// A claim does not say whose it is.
        ClaimWithoutOwner,
        /// Who was found dead once is taken for dead ever after, whoever has its row by then.
        VerdictRemembered,
        /// A position is claimed by a store, without a look at whether another did.
        TailByPlainStore,
        /// A message is taken by a store, without a look at whether another did.
        TakeByPlainStore,
        /// The chunk of a dead sender is freed, whatever became of its message.
        ChunkFreedWhileLinked,
        /// A message is published, and nobody woken.
        WakeUpForgotten,
        /// Who closes counts what it buries itself, and not what another buried who died before it told anybody.
        BurialCountedOnce,
        /// Each receiver that passes a skipped position counts it.
        SkipCountedByEach,
        /// A claim that is not published for long is taken for a dead one's.
        TimeoutForDeath,
        /// Memory is given back of chunks beyond the mark of those that were ever used.
        TrimBeyondUsed,
        /// Closing does not look at what became of the message at a dead owner's head.
        OwnerCountedTwice,
        /// A dead one's copy goes back, although the message is still in its slot as well.
        CopyReturned,
        /// A row is free before what its dead member had is put in order.
        RowNotSwept,
        /// A message is published before its chunk is linked.
        PublishBeforeLink,
        /// The chunk of a dead sender is freed, though it was given to somebody.
        GivenChunkFreed,
        /// Who answers does not look whose call it is.
        NumberUnchecked,
        /// The chunk of a dead one is freed, though it is an answer that its caller is to read.
        AnswerFreed,
        /// A dead caller's call is left to who answers it, whoever has its row by then.
        CallerInCell,
        /// What the directory says where an epoch is to be appended is read anew when its segment is ready: it may be over by then.
        EpochAppendedAgain,
        /// A segment that a dead one took out of the directory, and did not free, stays.
        RetiredKept,
        /// A copy that a waiter made of what another holds counts, whether that one was fenced off or not.
        CopyCounts,
        /// Nobody frees what a dead holder was fenced off from.
        FencedKept,
        /// All messages of a run are published, and then written.
        RunPublishedFirst,
        /// All places of a run are freed, and then read.
        RunFreedFirst,
        /// Sleepers are woken, and nobody who waits at a door is rung.
        DoorNotRung,
        /// The door of a dead one stays.
        DoorKept,
        /// Who sends to a link that was found empty does not send the note that was asked for.
        NoteForgotten,
        /// Whoever has the name of a process that is asked about is taken for it.
        LifeUnchecked,
        /// A link whose sender is dead is swept, whatever waits in it.
        UnreceivedSwept,
        /// A link's segment has its name before it says who is at its ends.
        NamedBeforeEnds,
        /// Who makes a pair keeps a copy of what the other end lives by.
        EndKept,
        /// An end of a pair that goes leaves a descriptor.
        DescriptorLeft,
        /// A writer says which buffer it edits, and does not look whether it was fenced before.
        BufferUnlooked,
        /// A buffer is whole at a version that is not committed yet.
        WholeTooSoon,
        /// In place: a writer does not say that it has begun to edit.
        BegunUntold,
        /// In place: who repairs does not wait for who may still write to the data.
        RepairedBeside,
    }

    const NAMES: &[(&str, Planted)] = &[
        ("publish-before-copy", Planted::PublishBeforeCopy),
        ("claim-without-owner", Planted::ClaimWithoutOwner),
        ("verdict-remembered", Planted::VerdictRemembered),
        ("tail-by-plain-store", Planted::TailByPlainStore),
        ("take-by-plain-store", Planted::TakeByPlainStore),
        ("chunk-freed-while-linked", Planted::ChunkFreedWhileLinked),
        ("wake-up-forgotten", Planted::WakeUpForgotten),
        ("burial-counted-once", Planted::BurialCountedOnce),
        ("skip-counted-by-each", Planted::SkipCountedByEach),
        ("timeout-for-death", Planted::TimeoutForDeath),
        ("trim-beyond-used", Planted::TrimBeyondUsed),
        ("owner-counted-twice", Planted::OwnerCountedTwice),
        ("copy-returned", Planted::CopyReturned),
        ("row-not-swept", Planted::RowNotSwept),
        ("publish-before-link", Planted::PublishBeforeLink),
        ("given-chunk-freed", Planted::GivenChunkFreed),
        ("number-unchecked", Planted::NumberUnchecked),
        ("answer-freed", Planted::AnswerFreed),
        ("caller-in-cell", Planted::CallerInCell),
        ("epoch-appended-again", Planted::EpochAppendedAgain),
        ("retired-kept", Planted::RetiredKept),
        ("copy-counts", Planted::CopyCounts),
        ("fenced-kept", Planted::FencedKept),
        ("run-published-first", Planted::RunPublishedFirst),
        ("run-freed-first", Planted::RunFreedFirst),
        ("door-not-rung", Planted::DoorNotRung),
        ("door-kept", Planted::DoorKept),
        ("note-forgotten", Planted::NoteForgotten),
        ("life-unchecked", Planted::LifeUnchecked),
        ("unreceived-swept", Planted::UnreceivedSwept),
        ("named-before-ends", Planted::NamedBeforeEnds),
        ("end-kept", Planted::EndKept),
        ("descriptor-left", Planted::DescriptorLeft),
        ("buffer-unlooked", Planted::BufferUnlooked),
        ("whole-too-soon", Planted::WholeTooSoon),
        ("begun-untold", Planted::BegunUntold),
        ("repaired-beside", Planted::RepairedBeside),
    ];

    /// What all of them are called.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Whether this error is the chosen one. A name that is none of them is a mistake, not a sound library.
    pub(crate) fn is(error: Planted) -> bool {
        static CHOSEN: OnceLock<Option<Planted>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| {
            let wanted = std::env::var("TUBEPOST_PLANTED").ok()?;
            let found = NAMES.iter().find(|(name, _)| *name == wanted);
            Some(found.unwrap_or_else(|| panic!("no planted error is called {wanted}")).1)
        });
        *chosen == Some(error)
    }

    /// Whether this member is, or was at any time when this process asked, dead.
    pub(crate) fn ever_dead(member: u16, dead: bool) -> bool {
        static KNOWN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if dead {
            known.push(member);
        }
        known.contains(&member)
    }

    /// Whether this process found this position unpublished some time ago already.
    pub(crate) fn waited_long_for(position: u64) -> bool {
        const LONG: Duration = Duration::from_millis(4);
        static POSITION: AtomicU64 = AtomicU64::new(u64::MAX);
        static SINCE: Mutex<Option<Instant>> = Mutex::new(None);
        let mut since = SINCE.lock().unwrap_or_else(PoisonError::into_inner);
        if POSITION.swap(position, Relaxed) != position {
            *since = Some(Instant::now());
        }
        since.is_some_and(|since| since.elapsed() > LONG)
    }
}
