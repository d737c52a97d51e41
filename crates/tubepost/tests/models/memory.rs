//! Memory as an x86 shows it (total store order): each process has a first-in-first-out *store
//! buffer*.
//!
//! A plain store goes into the buffer and reaches memory some time later, at a moment that the
//! explorer chooses. A load sees the process's own buffered stores first, then memory: so a load
//! may overtake an older store, the one reordering of this architecture, and the one that loses
//! wake-ups. A compare-and-swap and a fence wait for the buffer to empty. `membarrier` empties the
//! buffers of all processes: it interrupts the processors they run on, and whoever isn't running
//! went through a context switch, which empties the buffer too.
//!
//! A killed process's buffered stores still reach memory: they had been executed.

/// Plain stores that one process may have under way.
const DEPTH: usize = 4;

/// `WORDS` words, `PROCESSES` store buffers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Memory<const WORDS: usize, const PROCESSES: usize> {
    words: [u8; WORDS],
    buffers: [Buffer; PROCESSES],
}

/// (word, value), the oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Buffer {
    stores: [(u8, u8); DEPTH],
    length: u8,
}

impl<const WORDS: usize, const PROCESSES: usize> Memory<WORDS, PROCESSES> {
    pub fn zeroed() -> Self {
        let empty = Buffer { stores: [(0, 0); DEPTH], length: 0 };
        Memory { words: [0; WORDS], buffers: [empty; PROCESSES] }
    }

    /// What is in memory, whoever asks: what the kernel sees, and what checks look at.
    pub fn visible(&self, word: usize) -> u8 {
        self.words[word]
    }

    pub fn load(&self, process: usize, word: usize) -> u8 {
        let buffer = &self.buffers[process];
        let own = buffer.stores[..usize::from(buffer.length)].iter().rev().find(|s| usize::from(s.0) == word);
        own.map_or(self.words[word], |s| s.1)
    }

    pub fn store(&mut self, process: usize, word: usize, value: u8) {
        if usize::from(self.buffers[process].length) == DEPTH {
            self.drain_one(process);
        }
        let buffer = &mut self.buffers[process];
        buffer.stores[usize::from(buffer.length)] = (u8::try_from(word).expect("few words"), value);
        buffer.length += 1;
    }

    pub fn compare_and_swap(&mut self, process: usize, word: usize, old: u8, new: u8) -> bool {
        self.fence(process);
        let success = self.words[word] == old;
        if success {
            self.words[word] = new;
        }
        success
    }

    pub fn fence(&mut self, process: usize) {
        while self.has_buffered(process) {
            self.drain_one(process);
        }
    }

    pub fn membarrier(&mut self) {
        for process in 0..PROCESSES {
            self.fence(process);
        }
    }

    /// Whether stores of this process have yet to reach memory.
    pub fn has_buffered(&self, process: usize) -> bool {
        self.buffers[process].length > 0
    }

    /// The oldest buffered store reaches memory.
    pub fn drain_one(&mut self, process: usize) {
        let buffer = &mut self.buffers[process];
        let (word, value) = buffer.stores[0];
        buffer.stores.rotate_left(1);
        buffer.length -= 1;
        buffer.stores[DEPTH - 1] = (0, 0);
        self.words[usize::from(word)] = value;
    }
}

mod tests {
    use super::*;

    #[test]
    fn a_load_overtakes_a_store_but_not_ones_own() {
        let mut memory = Memory::<2, 2>::zeroed();
        memory.store(0, 0, 7);
        assert_eq!((memory.load(0, 0), memory.load(1, 0), memory.visible(0)), (7, 0, 0));
        memory.store(0, 0, 8);
        assert_eq!(memory.load(0, 0), 8);
        memory.drain_one(0);
        assert_eq!((memory.load(0, 0), memory.load(1, 0)), (8, 7));
        memory.membarrier();
        assert_eq!(memory.load(1, 0), 8);
        assert_eq!(memory, {
            let mut same = Memory::<2, 2>::zeroed();
            assert!(same.compare_and_swap(1, 0, 0, 8));
            same
        });
    }
}
