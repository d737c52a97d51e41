//! Several places at once: a *run* of positions, one after the other.
//!
//! ```text
//! send     claim the first place, as ever
//!          then one after the other of those behind it: is its state FREE? CAS its claim word
//!          until one is not free, or another was faster
//!          write and publish one after the other
//! receive, where receivers compete
//!          take the first message, as ever
//!          look at the states of those behind it: so many are FULL
//!          CAS their take words, until another was faster
//!          read all payloads, freeing each place
//! ```
//!
//! For each place the protocol is that of `slots` and `takes`, step by step, and so are the invariants: a claim of p + 1 needs
//! p claimed, and it is, by us. What differs is only the order in which different places are gone about: the ledgers are dense, so that
//! eight claims are in one line; and a CAS waits for all stores before it, so none comes between.
//!
//! (Where places are claimed their slots were fetched before, so to look at one between two CASes waits for nothing. Who
//! publishes one by one writes each line once.)
//!
//! A state is looked at before the word of the ledger here, and not after. That is as good: a slot leaves FREE(turn) only once it is claimed
//! in that turn, and FULL(turn) once it is taken, and the CAS says that by then it was not. (Nor does it come back.)
//!
//! **What if it dies here?** As if it had claimed each place by itself: each claim names the dead, each is found and skipped. As
//! if it had taken each message by itself: those that it had not freed are given back. One that is *stopped* with a run
//! of claims holds back what is behind it, as with one. So a run is short: [`RUN`].

use super::slots::{Member, Place, Refused, Slots, State, Words};

/// The most positions in a run.
pub(crate) const RUN: usize = 64;

/// Positions one after the other: the first, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) first: Place,
    pub(crate) length: usize,
}

impl<W: Words> Slots<W> {
    /// The places of a run.
    #[inline]
    pub(crate) fn places(&self, run: Run) -> impl Iterator<Item = Place> {
        let mut next = run.first;
        (0..run.length).map(move |_| {
            let place = next;
            next = self.next(place);
            place
        })
    }

    /// Claims the next position at or after `from`, and of those behind it as many as are free: `most` in all.
    #[inline]
    pub(crate) fn claim_run(&self, from: u64, most: usize, me: Member) -> Result<Run, Refused> {
        let first = self.claim(from, me)?;
        let claim =
            |place: &Place| self.state_at(*place) == State::free(place.turn) && self.claim_this(*place, me);
        let claimed = self.places(self.behind(first, most)).take_while(claim).count();
        Ok(Run { first, length: 1 + claimed })
    }

    /// What may follow the first one in a run of at most so many.
    #[inline]
    fn behind(&self, first: Place, most: usize) -> Run {
        Run { first: self.next(first), length: most.min(RUN).saturating_sub(1) }
    }

    /// Takes the message at `from` if that is the next one, published, and `wanted`, and of those behind it as many as
    /// are published and wanted: `most` in all.
    #[inline]
    pub(crate) fn take_run(
        &self,
        from: u64,
        most: usize,
        me: Member,
        wanted: impl Fn(Place) -> bool,
    ) -> Option<Run> {
        let (first, _) = self.take_if(from, me, &wanted)?;
        let behind = self.behind(first, most);
        let there = |place: &Place| self.holds_message(*place) && wanted(*place);
        let ready = self.places(behind).take_while(there).count();
        let ready = self.places(Run { length: ready, ..behind });
        let taken = ready.take_while(|place| self.take_this(*place, me)).count();
        Some(Run { first, length: 1 + taken })
    }
}
