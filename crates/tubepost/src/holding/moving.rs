//! Where the data of a region in place is: finding its home, and moving it out of reach of one who was fenced and may still write to it. The
//! protocol is in `versions::in_place`.
//!
//! A handle has the home mapped that it found last; whoever uses it keeps the mapping, wherever the data moves meanwhile. What it was moved
//! from loses its name at once, and its memory when the last one has moved over who had it mapped.
//!
//! Only the user whose region it is moves it: what another made would be that one's file.
//!
//! **What if it dies here?** Before the file has a name: it vanishes. Between that and the move: `gc` takes it away, and so does nobody else. Behind
//! the move: the old home has its name until `gc` takes it, or the region goes.

use super::{Hold, locked, map_of};
use crate::domain::data::Extent;
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::memory::copy;
use crate::versions::home::Home;
use crate::versions::in_place::{self, Place};
use crate::versions::layout::Shape;
use crate::versions::words::Current;
use crate::versions::writers;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// So much is copied between two signs of life.
const PIECE: usize = 16 << 20;
/// How often to look for a home that moves meanwhile.
const TRIES: u32 = 100;

/// What a home's file is.
fn extent(shape: &Shape) -> (u64, [(u64, u64); 1]) {
    let total = Home::total(shape.length);
    (total, [(0, total)])
}

/// The first home of a region that has no name so far: zeros, in version 1.
pub(super) fn settle(segment: &Segment, shape: &Shape, group: Option<u32>) -> Result<(), Error> {
    let (total, first) = extent(shape);
    let (fd, map) = segment.make_home(group, &Extent { total, first: &first })?;
    let number = Place::FIRST.home();
    Home::describe(map, segment.id().words(), number, shape.length, [1, 0]);
    segment.name_first_home(&fd, number)
}

/// A home that has a name. `NoSuchName`: it has moved, or the region is over.
pub(super) fn find(segment: &Segment, number: u32, shape: &Shape, writes: bool) -> Result<Home, Error> {
    let (map, _) = map_of(segment, segment.open_home(number, writes)?, writes, Home::least())?;
    Home::read(map, segment.id().words(), number, shape)
        .map_err(|what| Error::Damaged { name: segment.name.to_string(), what })
}

impl Hold {
    #[inline]
    fn place(&self) -> &AtomicU64 {
        &self.data.head().present.place
    }

    /// Where the data is now. It stays there as long as the caller holds what is not touched, or reads and is not fenced.
    pub(super) fn home(&self) -> Result<Arc<Home>, Error> {
        for _ in 0..TRIES {
            let number = Place(self.place().load(SeqCst)).home();
            match self.home_called(number) {
                Err(Error::NoSuchName { .. }) => {} // it moved just now
                found => return found,
            }
        }
        self.usable()?;
        Err(Error::Damaged { name: self.name(), what: "its data is gone".into() })
    }

    /// This one.
    fn home_called(&self, number: u32) -> Result<Arc<Home>, Error> {
        let mut last = locked(&self.home);
        if let Some(home) = last.as_ref().filter(|home| home.number() == number) {
            return Ok(Arc::clone(home));
        }
        let found = find(&self.at.segment, number, &self.data.layout.shape, self.is_writable())?;
        let found = Arc::new(found);
        *last = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Does something with it if nobody else of this handle does, and it is mapped.
    #[inline]
    pub(super) fn at_home<R>(&self, act: impl FnOnce(&Home) -> R) -> Option<R> {
        let last = self.home.try_lock().ok()?;
        let home = last.as_ref().filter(|home| home.number() == Place(self.place().load(SeqCst)).home())?;
        Some(act(home))
    }

    /// Whether it could move, once there is reason to.
    pub(super) fn may_move(&self) -> bool {
        self.at.segment.is_for_us_to_make()
    }

    /// Says that it is about to repair what it holds.
    pub(super) fn announce(&self) -> Place {
        in_place::announce(self.place())
    }

    /// Where one repairs what it holds, and has announced, while nobody else edits it there. Nothing: it was fenced before.
    pub(super) fn repair_there(
        &self,
        mine: Current,
        place: Place,
    ) -> Result<Option<(Current, Arc<Home>)>, Error> {
        let home = self.home().inspect_err(|_| self.leave_poisoned(mine))?;
        let begun = home.number() == place.home() && in_place::begin_repair(&self.both(), mine, place.home());
        if !begun {
            self.leave_poisoned(mine);
        }
        Ok(begun.then_some((mine, home)))
    }

    /// Moves what it holds, and has announced, to a home where nobody else edits it. Nothing: it was fenced, or another has announced.
    pub(super) fn move_out(
        &self,
        mine: Current,
        place: Place,
    ) -> Result<Option<(Current, Arc<Home>)>, Error> {
        let mut now = mine;
        let moved = self.try_to_move(&mut now, place);
        if !matches!(moved, Ok(Some(_))) {
            writers::leave(&self.both(), now.seat());
            self.leave_poisoned(now);
        }
        Ok(moved?.map(|home| (now, home)))
    }

    fn try_to_move(&self, mine: &mut Current, place: Place) -> Result<Option<Arc<Home>>, Error> {
        if self.present() != *mine {
            return Ok(None);
        }
        let (segment, shape) = (&self.at.segment, &self.data.layout.shape);
        let (old, (total, first)) = (self.home()?, extent(shape));
        if old.number() != place.home() {
            return Ok(None);
        }
        let (fd, map) = segment.make_home(Some(segment.belongs_to().1), &Extent { total, first: &first })?;
        let new = Home::describe(map, segment.id().words(), place.attempt(), shape.length, old.versions());
        let Some(now) = self.copy_home(*mine, &old, &new) else { return Ok(None) };
        *mine = now;
        in_place::mark(&self.both(), now.seat(), new.number());
        let moves = || in_place::move_to(self.place(), place);
        if !segment.move_home(&fd, old.number(), new.number(), moves)? {
            return Ok(None);
        }
        let new = Arc::new(new);
        *locked(&self.home) = Some(Arc::clone(&new));
        Ok((self.present() == now).then_some(new))
    }

    /// Copies the data as it is, though somebody may write to it, and begins the hold anew meanwhile, for others to see that somebody
    /// lives who does so. Nothing: it was fenced.
    fn copy_home(&self, mine: Current, old: &Home, new: &Home) -> Option<Current> {
        let (words, length, mut mine) = (self.both(), old.length().min(new.length()), mine);
        for from in (0..length).step_by(PIECE) {
            let piece = PIECE.min(length - from);
            // SAFETY: within the new home, which nobody else has: it has no name so far. Any bytes will do.
            let to = unsafe {
                std::slice::from_raw_parts_mut(new.data().add(from).cast::<MaybeUninit<u8>>(), piece)
            };
            // SAFETY: within the old one.
            unsafe { copy::read(old.data().add(from), to) };
            mine = writers::begin_anew(&words, mine)?;
        }
        Some(mine)
    }
}
