//! The newest version of the data as the survivor knows it, and what walkers may have made of it since.

use crate::letters::{self, JUDGE};
use crate::world::Edit;

/// See the module's text.
pub struct Known {
    /// The newest version, as far as known, and its number.
    pub data: Vec<u8>,
    pub version: u64,
    /// What a walker makes of it.
    edit: Edit,
    /// Tags of walkers that have not committed so far.
    pub pending: Vec<u8>,
    /// How many letters the survivor wrote.
    next: u32,
}

impl Known {
    /// Of a new region, in which one walks, or one after the other.
    pub fn new(length: usize, edit: Edit, pair: bool) -> Known {
        let pending = if pair { vec![2, 3] } else { vec![2] };
        Known { data: vec![0; length], version: 1, edit, pending, next: 0 }
    }

    /// What is there is what was known, or what walkers made of it since.
    pub fn is(&mut self, bytes: &[u8], version: u64) {
        let missing = version.checked_sub(self.version);
        let missing = missing.unwrap_or_else(|| panic!("version {version} after {}", self.version)) as usize;
        assert!(
            missing <= self.pending.len(),
            "version {version} after {}, and nobody made it",
            self.version
        );
        // Of those who are left, these, one after the other.
        let orders: &[&[usize]] = match missing {
            0 => &[&[]],
            1 => &[&[0], &[1]],
            _ => &[&[0, 1], &[1, 0]],
        };
        for order in orders.iter().filter(|order| order.iter().all(|at| *at < self.pending.len())) {
            let mut should = self.data.clone();
            order.iter().for_each(|at| super::edit(self.edit, self.pending[*at], &mut should));
            if should == bytes {
                let done: Vec<u8> = order.iter().map(|at| self.pending[*at]).collect();
                self.pending.retain(|tag| !done.contains(tag));
                (self.data, self.version) = (should, version);
                return;
            }
        }
        let wrong = bytes.iter().zip(&self.data).filter(|(is, was)| is != was).count();
        panic!("torn: version {version} has {wrong} bytes that nobody committed");
    }

    /// The survivor's next letter, and its number.
    pub fn letter(&mut self) -> (Vec<u8>, u32) {
        self.next += 1;
        (letters::write((JUDGE, self.next), self.data.len()), self.next)
    }

    /// The survivor committed this as this version.
    pub fn committed(&mut self, data: Vec<u8>, version: u64) {
        assert!(version == self.version + 1, "version {version} comes after {}", self.version);
        (self.data, self.version) = (data, version);
    }

    /// Whether the first walker's commit was seen.
    pub fn has_first(&self) -> bool {
        !self.pending.contains(&2)
    }

    /// Each byte is one of the newest version, or of what a walker makes of it; or the one byte that may be anywhere.
    pub fn may_be_half_done(&self, bytes: &[u8], anywhere: Option<u8>) -> bool {
        let edits = self.pending.iter().map(|tag| {
            let mut edited = self.data.clone();
            super::edit(self.edit, *tag, &mut edited);
            edited
        });
        let all: Vec<Vec<u8>> = edits.chain([self.data.clone()]).collect();
        let mut each = bytes.iter().enumerate();
        each.all(|(at, byte)| anywhere == Some(*byte) || all.iter().any(|one| one[at] == *byte))
    }
}
