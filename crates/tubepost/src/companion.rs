//! What a process has in common with another one.

use crate::domain::member::{Introduction, Peer};
use crate::domain::party::{Introductions, Party, introduction};
use crate::process::note_of;
use crate::strategy::{self, Inlet, shared::outlet::Outlet};
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::sync::{Arc, OnceLock};

/// What a process has in common with another one.
#[derive(Debug)]
pub(crate) struct Companion {
    pub(crate) peer: Party,
    /// What that one says of itself.
    pub(crate) is: Peer,
    pub(crate) namespace: u64,
    /// Where it is sent notes.
    pub(crate) rung: OnceLock<Outlet>,
    pub(crate) out: OnceLock<strategy::Outlet>,
    pub(crate) back: OnceLock<Arc<Inlet>>,
    /// Whether some inbox has it in its list.
    pub(crate) listed: AtomicBool,
}

impl Companion {
    /// What is to be said in the rows of what leads there, or of what leads here.
    pub(crate) fn ends<'a>(&'a self, me: &'a Party, there: bool) -> Introductions<'a> {
        let other = |receives| Introduction {
            pid: self.is.pid,
            namespace: self.namespace,
            name: self.peer.name.as_str(),
            receives,
        };
        let own = |receives| introduction(me.name.as_str(), receives);
        match there {
            true => Introductions { receiver: other(true), sender: own(false) },
            false => Introductions { receiver: own(true), sender: other(false) },
        }
    }

    /// Both directions are there: what one learns of the other process, the other one does.
    pub(crate) fn join_ways(&self) {
        // Of the kernel strategy the connection is hung up.
        if let (Some(strategy::Outlet::Shared(out)), Some(back)) = (self.out.get(), self.back.get())
            && let Inlet::Shared(back) = &**back
        {
            back.at.tells(&out.at);
        }
    }

    /// Has the other one told by notes of what is sent there, where no descriptor tells it.
    pub(crate) fn ring_by(&self, out: &strategy::Outlet) {
        if let strategy::Outlet::Shared(out) = out
            && let Some(rung) = self.rung.get().cloned()
        {
            let note = note_of(out.at.segment.id());
            out.at.segment.set_herald(move || rung.note(note));
        }
    }
}

impl Companion {
    /// Whether something may come from there.
    pub(crate) fn has_back(&self) -> bool {
        self.back.get().is_some_and(|inlet| !inlet.segment().is_closed())
    }

    /// Whether messages from there wait.
    pub(crate) fn has_sent_something(&self) -> bool {
        self.back.get().is_some_and(|inlet| !inlet.segment().is_closed() && inlet.has_any())
    }

    /// Whether it left in an orderly way.
    pub(crate) fn has_left(&self) -> bool {
        self.rung.get().is_some_and(|rung| rung.at.segment.header().life.left.load(Acquire) != 0)
    }

    pub(crate) fn lives(&self) -> bool {
        self.rung.get().is_some_and(|rung| !rung.is_closed())
    }
}
