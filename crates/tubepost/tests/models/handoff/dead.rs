//! Who leaves, and what is done about who died.

use super::*;

impl Handoff {
    /// First it says that it left, then its threads are refused; one step each, whoever sleeps looks again.
    pub(super) fn leave(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        match s.processes[p].at {
            At::Leave => (t.left, t.processes[p].at) = (true, At::Refuse),
            At::Refuse => (t.refuses, t.processes[p].at) = (true, At::Done),
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
            if !left && !self.is_dead(s, chunk.member) {
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
