//! Where the places of an unbounded mailbox lie: in segments of m places each, of which three areas of the file have
//! their parts.
//!
//! ```text
//! directory  a word for each epoch: which segment has it; see `directory`
//! claims     segment × spacing × 8 bytes
//! takes      segment × spacing × 8 bytes
//! slots      segment × spacing × stride bytes
//! ```
//!
//! So the index of a place, segment × spacing + offset, leads to its words as in a ring. Spacing is m, but at least what
//! makes each part begin on a page of its own: memory is taken and given back by segments. Segment 0 is never used; its
//! first places stand for those that are nowhere ([`NOT_YET`], [`OVER`], [`NEVER`]).

const PAGE: u64 = 4096;

/// `capacity`: as many messages wait as there is memory for.
pub(crate) const UNBOUNDED: u64 = u64::MAX;

/// The index of all places whose epoch was not appended yet.
pub(crate) const NOT_YET: usize = 0;
/// The index of all places whose epoch is over.
pub(crate) const OVER: usize = 1;
/// The index of all places whose epoch will never be: the queue is closed before it.
pub(crate) const NEVER: usize = 2;
/// Indices that stand for places that are nowhere.
const NOWHERE: u64 = 3;

/// The most places in a segment …
pub(crate) const MOST_PLACES: u64 = 1024;
/// … which is not to be longer than this …
const USUAL_BYTES: u64 = 256 << 10;
/// … but has at least so many, unless its creator wants fewer.
const LEAST_PLACES: u64 = 64;
/// So many words fill a page.
const LEAST_SPACING: u64 = PAGE / 8;
/// Segments have numbers of 24 bits.
const MOST_SEGMENTS: u64 = (1 << 24) - 1;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Areas {
    /// log2 of the places in each segment.
    pub(crate) shift: u32,
    /// log2 of the indices for each segment.
    pub(crate) spacing: u32,
    /// Segments that there can be, and the one that is never used.
    pub(crate) segments: u64,
    /// Bytes of a segment.
    pub(crate) bytes: u64,
    pub(crate) directory_at: u64,
    /// Words of the directory, a power of two.
    pub(crate) epochs: u64,
    stride: u64,
}

/// How many places a segment has if nobody says: for slots of so many bytes.
pub(crate) fn usual_places(stride: u64) -> u64 {
    let fitting = (USUAL_BYTES / stride).max(1);
    (1 << fitting.ilog2()).clamp(LEAST_PLACES, MOST_PLACES)
}

/// Bytes of a segment.
pub(crate) fn segment_bytes(places: u64, stride: u64) -> u64 {
    2 * (places * 8).next_multiple_of(PAGE) + (places * stride).next_multiple_of(PAGE)
}

impl Areas {
    /// The directory begins at `directory_at`.
    pub(crate) fn new(places: u64, stride: u64, ceiling: u64, directory_at: u64) -> Areas {
        let bytes = segment_bytes(places, stride);
        // One more than fit the ceiling: who finds no free one is told of the ceiling.
        let segments = (ceiling / bytes + 2).min(MOST_SEGMENTS);
        Areas {
            shift: places.trailing_zeros(),
            spacing: places.max(LEAST_SPACING).trailing_zeros(),
            segments,
            bytes,
            directory_at,
            epochs: segments.next_power_of_two().max(LEAST_SPACING),
            stride,
        }
    }

    /// How many places each segment has.
    pub(crate) fn places(&self) -> u64 {
        1 << self.shift
    }

    /// No walk along the segments has more steps than this, unless rubbish leads it round and round: twice all places that
    /// there can be, and the epochs that the directory can tell of.
    pub(crate) fn longest_walk(&self) -> u64 {
        const MOST: u64 = 1 << 25;
        (2 * (self.epochs + (self.segments << self.shift)) + 1024).min(MOST)
    }

    /// All indices that there are.
    pub(crate) fn indices(&self) -> u64 {
        self.segments << self.spacing
    }

    /// Where the directory ends.
    pub(crate) fn directory_end(&self) -> u64 {
        (self.directory_at + self.epochs * 8).next_multiple_of(PAGE)
    }

    /// Where takes and slots begin and all ends, if claims begin at `claims_at`.
    pub(crate) fn lay_out(&self, claims_at: u64) -> [u64; 3] {
        let takes_at = claims_at + self.indices() * 8;
        let slots_at = takes_at + self.indices() * 8;
        [takes_at, slots_at, slots_at + self.indices() * self.stride]
    }

    /// The parts of a segment, as offsets and lengths, where claims, takes and slots begin there.
    pub(crate) fn parts(&self, segment: u64, [claims_at, takes_at, slots_at]: [u64; 3]) -> [(u64, u64); 3] {
        let first = segment << self.spacing;
        let words = (self.places() * 8).next_multiple_of(PAGE);
        let slots = (self.places() * self.stride).next_multiple_of(PAGE);
        [
            (claims_at + first * 8, words),
            (takes_at + first * 8, words),
            (slots_at + first * self.stride, slots),
        ]
    }

    /// What has memory from the start, likewise: what stands for the places that are nowhere, and where the first
    /// epoch is appended, or closed.
    pub(crate) fn first(&self, [claims_at, takes_at, slots_at]: [u64; 3]) -> [(u64, u64); 4] {
        let slots = (NOWHERE * self.stride).next_multiple_of(PAGE);
        [(self.directory_at, PAGE), (claims_at, PAGE), (takes_at, PAGE), (slots_at, slots)]
    }

    /// How many chunks of a length there are: no more than fill the ceiling.
    pub(crate) fn chunks(size: u64, ceiling: u64) -> u64 {
        const MOST: u64 = 1 << 28;
        // What is in a chunk longer than a page is longer than half of it.
        (2 * ceiling / size + 1).min(MOST)
    }
}
