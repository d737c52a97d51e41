//! The memory of chunks: it comes when a payload needs it, and goes when nobody does.
//!
//! `backed` says how many bytes of a chunk are memory. It is changed only by who has
//! the chunk as OWN: to more *after* the pages are there, to nothing *before* they go.
//!
//! **What if it dies here?** See `super`.

use super::*;

/// How often the bytes that chunks have are counted while others change them.
const RECOUNTS: u32 = 1000;

impl Chunks {
    /// Gives the memory of free chunks back to the system; says how much that was. `me` is the caller's
    /// row. Thorough: also what is not known to be memory, see above.
    pub(crate) fn trim(&self, me: Member, thorough: bool) -> u64 {
        let mut given = 0;
        for kind in 0..MAX_CLASSES {
            let together = (PAGE / self.classes[kind].size.clamp(1, PAGE)).max(1);
            for first in (0..self.used(kind)).step_by(together as usize) {
                given += self.trim_some(kind, first, together, me, thorough);
            }
        }
        given
    }

    /// Chunks shorter than a page share one: it can be given back only if all of them are free.
    fn trim_some(&self, kind: usize, first: u64, together: u64, me: Member, thorough: bool) -> u64 {
        let class = self.classes[kind];
        let all = || first..(first + together).min(class.number);
        let is_free = |index| {
            let chunk = self.chunk(kind, index).ok()?;
            (chunk.word.kind() == Some(Use::Free)).then(|| chunk.entry.backed.load(Acquire).min(class.size))
        };
        let Some(backed) = all().map(is_free).sum::<Option<u64>>() else { return 0 };
        if backed == 0 && !thorough {
            return 0;
        }
        // Also those that were never used: if we die, they name us, and have to be found.
        if !planted!(TrimBeyondUsed) {
            self.header.chunks.used[kind].fetch_max(all().end as u32, AcqRel);
        }
        let mut mine = Vec::new();
        for index in all() {
            match self.chunk(kind, index).ok().and_then(|chunk| chunk.try_take(me)) {
                Some(chunk) => mine.push(chunk),
                None => break,
            }
        }
        let mut given = 0;
        if mine.len() as u64 == all().count() as u64 {
            for chunk in &mine {
                let backed = chunk.entry.backed.load(Acquire).min(class.size);
                chunk.entry.wanted.store(backed, Release);
                chunk.entry.backed.store(0, Release);
                given += backed;
            }
            let length = (all().count() as u64 * class.size).next_multiple_of(PAGE);
            self.map.give_back((class.chunks_at + first * class.size) as usize, length as usize);
            self.note_given(given);
        }
        for chunk in mine {
            chunk.entry.wanted.store(0, Release);
            chunk.release();
        }
        given
    }

    /// Gives the memory of a segment back that is the caller's OWN, and into which nobody looks; says how much that was.
    pub(in crate::queue) fn trim_segment(&self, chunk: &Chunk<'_>) -> u64 {
        let backed = chunk.entry.backed.load(Acquire).min(chunk.size());
        chunk.entry.wanted.store(backed, Release);
        chunk.entry.backed.store(0, Release);
        for (at, length) in self.parts(chunk.number()) {
            self.map.give_back(at as usize, length as usize);
        }
        self.note_given(backed);
        chunk.entry.wanted.store(0, Release);
        backed
    }

    /// The parts of the file that a segment has.
    fn parts(&self, number: u64) -> [(u64, u64); 3] {
        self.segments.map_or([(0, 0); 3], |(areas, begins)| areas.parts(number, begins))
    }

    /// Bytes that chunks have.
    pub(crate) fn backed(&self) -> u64 {
        self.everything()
            .map(|chunk| chunk.entry.backed.load(Relaxed).min(chunk.size()))
            .fold(0, u64::saturating_add)
    }

    /// Bytes of messages that are in chunks, and of segments that are in use.
    pub(crate) fn occupied(&self) -> u64 {
        let in_use = self.everything().filter(|chunk| chunk.word.kind() != Some(Use::Free));
        let bytes = in_use.map(|chunk| match chunk.kind {
            SEGMENTS => chunk.entry.backed.load(Relaxed).min(chunk.size()),
            _ => chunk.length().min(chunk.size()),
        });
        bytes.fold(0, u64::saturating_add)
    }

    fn note_given(&self, bytes: u64) {
        let less = |backed: u64| Some(backed.saturating_sub(bytes));
        let _ = self.header.chunks.backed.fetch_update(AcqRel, Acquire, less);
    }

    /// Asks for so many more bytes, of which the chunk's entry says so already; the note comes before
    /// the memory.
    ///
    /// Who dies between note and memory leaves the note too large, so at the ceiling it is
    /// counted: with what is wanted by all who have chunks as OWN. A note is changed only after its entry's
    /// `wanted` was set, and before that is cleared; so the count, if the note was the same before
    /// and after it, has everything that is in the note.
    fn note_wanted(&self, bytes: u64) -> bool {
        let word = &self.header.chunks.backed;
        if word.fetch_add(bytes, AcqRel).saturating_add(bytes) <= self.ceiling {
            return true;
        }
        self.note_given(bytes);
        for _ in 0..RECOUNTS {
            let noted = word.load(Acquire);
            let wanted = self.everything().map(|chunk| chunk.claimed()).fold(0, u64::saturating_add);
            if wanted > self.ceiling {
                return false;
            }
            if word.compare_exchange(noted, wanted, AcqRel, Relaxed).is_ok() {
                return true;
            }
        }
        false
    }
}

impl<'a> Chunk<'a> {
    /// The same with memory for so many bytes, or free again.
    #[inline]
    pub(super) fn backed_for(self, length: u64) -> Result<Chunk<'a>, NoChunk> {
        match self.back(length) {
            Ok(()) => Ok(self),
            Err(why) => {
                self.release();
                Err(why)
            }
        }
    }

    /// Makes sure that the first `length` bytes are memory. The chunk is this member's OWN.
    #[inline]
    fn back(&self, length: u64) -> Result<(), NoChunk> {
        let size = self.size();
        let wanted = if size < PAGE { size } else { length.next_multiple_of(PAGE).min(size) };
        let backed = self.entry.backed.load(Relaxed);
        if backed >= wanted { Ok(()) } else { self.back_more(backed, wanted) }
    }

    #[cold]
    fn back_more(&self, backed: u64, wanted: u64) -> Result<(), NoChunk> {
        let chunks = self.chunks;
        self.entry.wanted.store(wanted, Release);
        if !chunks.note_wanted(wanted - backed) {
            self.entry.wanted.store(0, Release);
            return Err(NoChunk::AtCeiling);
        }
        if let Err(errno) = self.reserve(backed, wanted) {
            chunks.note_given(wanted - backed);
            self.entry.wanted.store(0, Release);
            return Err(NoChunk::Os(errno));
        }
        self.entry.backed.store(wanted, Release);
        self.entry.wanted.store(0, Release);
        Ok(())
    }

    /// Makes memory of its bytes from `backed` to `wanted`, or of none of them.
    fn reserve(&self, backed: u64, wanted: u64) -> Result<(), Errno> {
        let map = &self.chunks.map;
        let whole = [((self.at() + backed) / PAGE * PAGE, (self.at() + wanted).next_multiple_of(PAGE))];
        let parts = self.chunks.parts(self.number()).map(|(at, length)| (at, at + length));
        let pieces: &[(u64, u64)] = if self.kind == SEGMENTS { &parts } else { &whole };
        let length = |(from, until): (u64, u64)| (until - from) as usize;
        for piece in pieces {
            let Err(errno) = map.reserve(piece.0 as usize, length(*piece)) else { continue };
            if self.size() >= PAGE {
                pieces.iter().for_each(|piece| map.give_back(piece.0 as usize, length(*piece)));
            }
            return Err(errno);
        }
        Ok(())
    }

    /// Bytes that are memory, or are just becoming it, or were it a moment ago.
    fn claimed(&self) -> u64 {
        let entry = self.entry;
        let owned = self.word.kind() == Some(Use::Own);
        let wanted = if owned { entry.wanted.load(Acquire) } else { 0 };
        let wanted = if wanted & INSTEAD == 0 { wanted } else { 0 };
        wanted.max(entry.backed.load(Acquire)).min(self.size())
    }
}
