//! What the dead leave.

use super::*;

impl GivenHere {
    /// What anybody who lives may do about the dead. Each is one CAS, on what was just read.
    pub(super) fn tidy(&self, s: &State, out: &mut Steps<State>) {
        let tell = |t: &mut State, message: u8| t.excused |= 1 << message;
        for (at, cell) in s.cells.iter().enumerate() {
            let word = cell.word;
            let dead = self.is_dead(s, word.member);
            let mut t = *s;
            let free = Word { phase: Phase::Free, member: NOBODY, which: 0, ..word };
            let to = match word.phase {
                Phase::Giving => match (self.is_dead(s, word.which), dead) {
                    (true, _) if self.planted == Planted::GiverKept => continue,
                    (true, false) => Word { phase: Phase::Waiting, which: 0, ..word },
                    (true, true) => free,
                    (false, true) => Word { phase: Phase::Own, member: word.which, which: 0, ..word },
                    (false, false) => continue,
                },
                Phase::Free | Phase::Back => continue,
                _ if !dead => continue,
                Phase::Here if self.planted != Planted::HereFreed => {
                    tell(&mut t, cell.payload[0]);
                    Word { phase: Phase::Back, member: NOBODY, which: word.which + 1, ..word }
                }
                Phase::Given if s.chunks[usize::from(word.which)].to == Use::Own => {
                    let given = &mut t.chunks[usize::from(word.which)];
                    *given = Chunk { to: Use::Held, member: word.member, ..*given };
                    word
                }
                _ => free,
            };
            t.cells[at].word = to;
            out.add(|| format!("puts cell {at} of the dead in order: {:?}, {:?}", word.phase, to.phase), t);
        }
        for (at, chunk) in s.chunks.iter().enumerate() {
            if !self.is_dead(s, chunk.member) || self.named(s, at) {
                continue;
            }
            let mut t = *s;
            match chunk.to {
                Use::Own => t.chunks[at] = Chunk { to: Use::Free, member: NOBODY, ..*chunk },
                Use::Held => {
                    tell(&mut t, chunk.message);
                    let sequence = chunk.sequence + 1;
                    let count = chunk.count + 1;
                    t.chunks[at] = Chunk { sequence, to: Use::Returned, member: NOBODY, count, ..*chunk };
                }
                _ => continue,
            }
            out.add(|| format!("puts chunk {at} of the dead in order: {:?}", t.chunks[at].to), t);
        }
    }
}
