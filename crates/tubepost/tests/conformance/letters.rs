//! The messages of the suite.

use tubepost::Message;

/// Says who sent it and which of his it is, and shows when it is torn.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Stamp {
    pub process: u32,
    pub thread: u32,
    pub count: u64,
    /// Enough of it to be torn.
    pub body: [u64; 4],
    pub check: u64,
}

impl Stamp {
    pub fn new(process: u32, thread: u32, count: u64) -> Stamp {
        let seed = u64::from(process) << 32 ^ u64::from(thread) << 56 ^ count;
        let body = [1, 2, 3, 4].map(|i: u64| mix(seed ^ i));
        let mut stamp = Stamp { process, thread, count, body, check: 0 };
        stamp.check = stamp.sum();
        stamp
    }

    pub fn is_whole(&self) -> bool {
        self.check == self.sum() && *self == Stamp::new(self.process, self.thread, self.count)
    }

    fn sum(&self) -> u64 {
        let head = mix(u64::from(self.process) << 32 | u64::from(self.thread)) ^ mix(self.count);
        self.body.iter().fold(head, |sum, word| mix(sum ^ word))
    }
}

/// Spreads every bit over the word: splitmix64's last step.
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Text whose every byte depends on its place, so that a shifted or cut one is seen.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    (0..length as u64).map(|at| mix(seed << 32 | at) as u8).collect()
}
