//! Sending where there is always room: what a sender does who comes to the end of the segments, and how early.

use super::outlet::Outlet;
use super::{Attachment, closed};
use crate::error::Error;
use crate::queue::runs::Run;
use crate::queue::slots::{Place, Refused};
use crate::strategy::Refusal;
use std::sync::atomic::Ordering::Relaxed;

/// Who appended so many segments and still finds no place is led by rubbish.
const TRIES: u32 = 1000;

impl Outlet {
    /// Claims the place behind that of the last message in a mailbox without a capacity, where nobody else did since.
    #[inline(always)]
    pub(super) fn claim_next_in_segments(&self) -> Option<Place> {
        let (segment, from) = (&self.at.segment, self.from());
        let _visit = segment.visit_shortly()?;
        segment.slots.claim_next_in_segments(from, self.at.member)
    }

    /// Claims a place in a mailbox without a capacity.
    #[inline(never)]
    pub(super) fn claim_in_segments(&self) -> Result<Place, Refusal> {
        for _ in 0..TRIES {
            let (at, from) = (&*self.at, self.from());
            match at.segment.visiting(|| at.segment.slots.claim(from, at.member)) {
                Ok(place) => return Ok(place),
                Err(refused) => self.go_on_from(refused)?,
            }
        }
        Err(self.at.led_astray())
    }

    /// Claims a place, and those behind it that are free and in segments that are there.
    pub(super) fn claim_run_in_segments(&self, most: usize) -> Result<Run, Refusal> {
        for _ in 0..TRIES {
            let (at, from) = (&*self.at, self.from());
            match at.segment.visiting(|| at.segment.slots.claim_run(from, most, at.member)) {
                Ok(run) => return Ok(run),
                Err(refused) => self.go_on_from(refused)?,
            }
        }
        Err(self.at.led_astray())
    }

    /// Makes sure that there is a place, without claiming it.
    pub(super) fn look_in_segments(&self) -> Result<(), Refusal> {
        let at = &*self.at;
        match at.segment.visiting(|| at.segment.slots.look(self.from())) {
            Ok(_) => Ok(()),
            Err(refused) => self.go_on_from(refused),
        }
    }

    /// Where to begin looking. Others may have gone on far from where this sender was.
    #[inline]
    fn from(&self) -> u64 {
        self.cursor.load(Relaxed).max(self.at.segment.header().tail.hint.load(Relaxed))
    }

    #[cold]
    fn go_on_from(&self, refused: Refused) -> Result<(), Refusal> {
        match refused {
            Refused::Closed(_) => Err(closed(&self.at.segment)),
            // It is never full: rubbish leads there.
            Refused::Full(place) if !self.at.segment.slots.is_not_yet(place) => Err(self.at.led_astray()),
            Refused::Full(place) => {
                self.cursor.store(place.position, Relaxed);
                self.at.append(place.position)
            }
        }
    }

    /// Appends the next segment when this one is half full, so that others seldom have to wait for its memory. If
    /// there is none now, who comes to the end says so.
    #[cold]
    pub(super) fn look_ahead(&self, position: u64) {
        let at = &*self.at;
        let places = at.segment.geometry.choice.places;
        if places > 0 && position & (places - 1) == places / 2 {
            let _ = at.segment.append(position.wrapping_add(places / 2), at.member);
        }
    }
}

impl Attachment {
    /// Appends the segment of this position.
    #[cold]
    fn append(&self, position: u64) -> Result<(), Refusal> {
        let segment = &self.segment;
        if segment.append(position, self.member).is_ok() {
            return Ok(());
        }
        // There may be memory that nobody needs.
        segment.give_back();
        segment.retire_segments();
        segment.chunks.trim(self.member, false);
        let bytes = segment.geometry.areas.map_or(0, |areas| areas.bytes);
        segment.append(position, self.member).map_err(|why| self.no_memory(bytes, &why).into())
    }

    #[cold]
    fn led_astray(&self) -> Refusal {
        Error::Damaged {
            name: self.segment.name.to_string(),
            what: "its directory leads to no place that is free; nothing was sent".into(),
        }
        .into()
    }
}
