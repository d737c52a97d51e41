//! Who leaves, and what is done about who died.

use super::*;

impl Handoff {
    pub(super) fn named(&self, s: &State, chunk: usize) -> bool {
        s.cells.iter().any(|cell| cell.phase == Phase::Given && usize::from(cell.chunk) == chunk)
    }

    pub(super) fn is_dead(&self, s: &State, member: u8) -> bool {
        member != NOBODY && s.processes[usize::from(member)].at == At::Dead
    }

    /// Whether it is taken for dead.
    pub(super) fn is_gone(&self, s: &State, member: u8) -> bool {
        member != NOBODY && (self.is_dead(s, member) || s.vanished && self.sends(usize::from(member)))
    }

    /// Under the lock of its process, which whoever leaves has until it took back what was offered.
    pub(super) fn may_not_send(&self, s: &State) -> bool {
        s.refuses && self.planted != Planted::LeftUnseen
    }

    /// Somebody took it, or it was taken back.
    pub(super) fn is_not_offered(&self, t: &mut State, p: usize) {
        let back = t.taken_back >> self.message(t, p) & 1 == 1;
        if back && self.planted != Planted::TakenBackUnseen {
            t.processes[p].at = At::PutAway;
        } else {
            self.was_sent(t, p);
        }
    }

    /// First it says that it left, then its threads are refused; then it takes back what they offer, one by one; whoever sleeps looks again.
    pub(super) fn leave(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        match s.processes[p].at {
            At::Leave => (t.left, t.processes[p].at) = (true, At::Refuse),
            At::Refuse if self.planted == Planted::NotTakenBack => {
                (t.refuses, t.processes[p].at) = (true, At::Vanish)
            }
            At::Refuse => (t.refuses, t.processes[p].at) = (true, At::Regain),
            At::Regain => match t.chunks.iter_mut().find(|chunk| chunk.to == Use::Linked) {
                Some(chunk) => {
                    chunk.to = Use::Own;
                    t.taken_back |= 1 << chunk.message;
                }
                None => t.processes[p].at = At::Vanish,
            },
            At::Vanish => (t.vanished, t.processes[p].at) = (true, At::Done),
            _ => return,
        }
        out.add(|| "leaves".into(), t);
    }

    /// What anybody who lives may do about the dead. Each is one CAS, on what was just read.
    pub(super) fn tidy(&self, s: &State, out: &mut Steps<State>) {
        for (at, cell) in s.cells.iter().enumerate() {
            if !self.is_dead(s, cell.member) {
                continue;
            }
            let mut t = *s;
            let given = usize::from(cell.chunk);
            match cell.phase {
                Phase::Free => continue,
                Phase::Given if s.chunks[given].to == Use::Own => {
                    t.chunks[given] = Chunk { to: Use::Held, member: cell.member, ..s.chunks[given] };
                    out.add(|| format!("binds chunk {given} for the dead"), t);
                    continue;
                }
                _ => {}
            }
            t.cells[at] = Cell { phase: Phase::Free, member: NOBODY, chunk: NOBODY, ..*cell };
            out.add(|| format!("frees cell {at} of the dead"), t);
        }
        for (at, chunk) in s.chunks.iter().enumerate() {
            let left = self.planted == Planted::LeftForDead && s.left && chunk.to == Use::Linked;
            if !left && !self.is_gone(s, chunk.member) {
                continue;
            }
            let mut t = *s;
            let free = Chunk { to: Use::Free, member: NOBODY, ..*chunk };
            let named = self.named(s, at);
            match chunk.to {
                Use::Own if !named || self.planted == Planted::GivenFreed => t.chunks[at] = free,
                Use::Linked if self.planted != Planted::OfferKept => t.chunks[at] = free,
                Use::Held if !named || self.planted == Planted::ReturnedFirst => {
                    let back = Chunk { to: Use::Returned, member: NOBODY, count: chunk.count + 1, ..*chunk };
                    t.chunks[at] = back;
                    t.excused |= 1 << chunk.message;
                    // Whoever sleeps is told.
                    t.processes
                        .iter_mut()
                        .for_each(|process| process.rung = process.at == At::Wait || process.rung);
                }
                _ => continue,
            }
            out.add(|| format!("puts chunk {at} of the dead in order: {:?}", t.chunks[at].to), t);
        }
    }
}
