//! Putting a log in order that nobody uses, before it is used again.
//!
//! ```text
//! begin where it is known to be on the disk, or at the last file if nothing is
//! walk over the records: whole ones stay; claimed ones are nobody's, and become SKIPPED
//! where a record is not whole, or nothing is, and a whole one comes later:
//!     what is between holds no message, and becomes SKIPPED, one for each number that is missing
//! behind the last whole one: all zeros, and no marks
//! a mark that nobody wrote: its message comes again
//! a file that was cut off gets its length again; one of which not even the header is readable is set aside, and numbers go on behind it
//! places beyond the end are set back
//! sync, before anybody appends
//! ```
//!
//! What is synced then is written once more before: after a sync that failed the system takes pages for written that never were.
//!
//! How long that takes depends on what was not known to be durable, and on the length of one file.
//!
//! **What if it dies here?** It has the log alone until it is done, and everything is done again by the next.

use super::described::Fsync;
use super::file::{HEAD, LogFile};
use super::records::Found;
use super::store::{ASIDE, Store};
use super::words::{Control, Mark, Says, Spot, UNIT};
use crate::error::Error;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// What was found when a log was put in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The number of the next message.
    pub next: u64,
    /// Bytes behind the last whole message that were no messages, and are gone.
    pub cut: u64,
    /// Messages that were claimed and never finished: their senders died.
    pub unfinished: u64,
    /// Numbers of messages that are damaged, or missing: from … to …, both included. Whoever receives is told, too, by [`Error::DamagedMessages`].
    pub damaged: Vec<(u64, u64)>,
    /// How many places beside the messages were damaged, and put right: what a file says of itself, or who received a message, which then comes again.
    pub beside: u64,
    /// Files of which nothing could be read, and what they are called now.
    pub set_aside: Vec<PathBuf>,
}

impl Recovered {
    fn damage(&mut self, from: u64, to: u64) {
        match self.damaged.last_mut() {
            Some((_, last)) if *last + 1 == from => *last = to,
            _ => self.damaged.push((from, to)),
        }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Recovered { next: _, cut, unfinished, damaged, beside, set_aside } = self;
        *cut == 0 && *unfinished == 0 && damaged.is_empty() && *beside == 0 && set_aside.is_empty()
    }
}

impl std::fmt::Display for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the log goes on at message {}", self.next)?;
        if self.cut > 0 {
            write!(f, "; {} bytes behind the last whole one were no message and are cut off", self.cut)?;
        }
        if self.unfinished > 0 {
            write!(f, "; {} were never finished by their senders", self.unfinished)?;
        }
        for (from, to) in &self.damaged {
            match from == to {
                true => write!(f, "; message {from} is damaged")?,
                false => write!(f, "; messages {from} to {to} are damaged")?,
            }
        }
        if self.beside > 0 {
            write!(f, "; {} damaged places beside messages were put right", self.beside)?;
        }
        for path in &self.set_aside {
            write!(f, "; what could not be read at all is now {}", path.display())?;
        }
        Ok(())
    }
}

/// Puts a log in order. The caller has it alone. `wholly`: from its beginning on.
pub(crate) fn put_in_order(store: &Store, wholly: bool) -> Result<Recovered, Error> {
    let mut report = Recovered::default();
    let mut files = store.files()?;
    // The last ones may never have come to the disk as wholes.
    let (mut unreadable, mut cut_off) = (None, None);
    while let Some(last) = files.last().copied() {
        match open(store, last) {
            Err(Error::Damaged { .. }) => {
                // As many numbers as there may have been are not given again.
                let most = set_aside(store, last, &mut report)? / HEAD;
                let (_, end, bytes) = unreadable.unwrap_or((last, last + most.max(1), 0));
                unreadable = Some((last, end, bytes + most * HEAD));
                files.pop();
            }
            Err(other) => return Err(other),
            Ok(found) => {
                cut_off = found.map(|(_, missing)| (last, missing));
                break;
            }
        }
    }
    let mut begins_at = 0;
    let begins =
        if wholly { (!files.is_empty()).then(|| (0, Spot::default())) } else { begin(store, &files)? };
    let (at, from) = begins.unwrap_or_default();
    for (step, first) in files[at..].iter().enumerate() {
        let next = files.get(at + step + 1).copied().or(unreadable.map(|(first, ..)| first));
        let (file, missing) = match open(store, *first) {
            Ok(Some(found)) => found,
            Err(Error::Damaged { .. }) if wholly => {
                report.damage(*first, next.map_or(*first, |next| next - 1));
                set_aside(store, *first, &mut report)?;
                continue;
            }
            Err(other) => return Err(other),
            Ok(None) => continue,
        };
        let missing = cut_off.filter(|(last, _)| last == first).map_or(missing, |(_, missing)| missing);
        report.beside += u64::from(file.put_identity_right());
        let known = Spot::of(file.hints().tail.load(Acquire));
        let from = if step == 0 { from } else { Spot::default() };
        let end = walk(&file, from, next, wholly, &mut report);
        if missing > 0 {
            report.cut += missing;
            if next.is_none() && known.index > end.index && known.index <= file.most() {
                report.damage(file.number(end), file.number(known) - 1);
            }
        }
        report.next = file.number(end);
        begins_at = file.begins + u64::from(end.units) * UNIT;
        file.hints().tail.store(end.bits(), Relaxed);
        clamp(&file, end);
        if is_durable(store) {
            file.write_again(from, end);
        }
        sync(store, &file)?;
    }
    if let Some((first, end, bytes)) = unreadable {
        report.damage(first, end - 1);
        store.make(end, begins_at + bytes, store.described.max_message, 0)?;
        report.next = end;
    }
    if is_durable(store) {
        store.sync_names()?;
    }
    store.clamp_places(report.next)?;
    Ok(report)
}

fn is_durable(store: &Store) -> bool {
    store.described.fsync != Fsync::Never
}

fn sync(store: &Store, file: &LogFile) -> Result<(), Error> {
    if file.is_lost() {
        return Err(file.lost());
    }
    if is_durable(store) {
        file.sync_all().map_err(|errno| super::trouble("to sync", &file.path, errno))?;
    }
    Ok(())
}

/// Which file to begin with, and where in it. Nothing: there is none.
fn begin(store: &Store, files: &[u64]) -> Result<Option<(usize, Spot)>, Error> {
    let Some(last) = files.len().checked_sub(1) else { return Ok(None) };
    if !is_durable(store) {
        return Ok(Some((last, Spot::default())));
    }
    for at in (0..files.len()).rev() {
        let Some(file) = store.file(files[at])? else { continue };
        let durable = Spot::of(file.hints().durable.load(Acquire));
        if durable != Spot::default() {
            let known = matches!(file.says(durable), Says::Rubbish) || durable.units > file.units;
            return Ok(Some((at, if known { Spot::default() } else { durable })));
        }
    }
    Ok(Some((0, Spot::default())))
}

/// Walks to the end of the records of a file, behind which the next one begins, if there is one. Says where that is.
/// `wholly`: what is lost is told to who had this done, and to no receiver.
fn walk(file: &LogFile, from: Spot, next_file: Option<u64>, wholly: bool, report: &mut Recovered) -> Spot {
    let mut spot = from;
    loop {
        let found = file.look(spot);
        let is_message = matches!(found, Found::Message(..));
        if matches!(found, Found::Message(..) | Found::Skipped(_)) && file.put_right(spot.index, is_message) {
            report.beside += 1;
        }
        match found {
            Found::Message(_, units) => spot = spot.after(units),
            Found::Skipped(units) => {
                if wholly && file.mark_at(spot.index).is_lost() {
                    report.damage(file.number(spot), file.number(spot));
                    file.give_up(spot.index, Mark::PASSED);
                }
                spot = spot.after(units);
            }
            Found::Claimed => {
                let next = file.step(spot).unwrap_or(spot.after(1));
                file.skip(spot, |_| true);
                report.unfinished += 1;
                spot = next;
            }
            // Nobody appends there again.
            Found::End => {
                if let Some(next) = next_file.filter(|next| *next > file.number(spot)) {
                    report.damage(file.number(spot), next - 1); // a file is missing
                }
                return spot;
            }
            // It says how long it is.
            Found::Damaged => {
                let next = file.step(spot).unwrap_or(spot.after(1));
                report.damage(file.number(spot), file.number(spot));
                bridge(file, spot, next, wholly);
                spot = next;
            }
            Found::Rubbish | Found::Nothing | Found::Closed => match (file.resume(spot), next_file) {
                (Some(next), _) => {
                    report.damage(file.number(spot), file.number(next) - 1);
                    bridge(file, spot, next, wholly);
                    spot = next;
                }
                (None, Some(next)) => {
                    if file.number(spot) < next {
                        report.damage(file.number(spot), next - 1);
                    }
                    report.cut += file.wipe(spot);
                    if let Some(word) = file.control(spot.units) {
                        word.store(Control::end(file.number(spot)).bits(), Relaxed);
                    }
                    return spot;
                }
                (None, None) => {
                    report.cut += file.wipe(spot);
                    return spot;
                }
            },
        }
    }
}

/// Makes what is between two places records without a message, one for each number. Those that nobody received are lost, of which receivers are told, unless it was `told`.
fn bridge(file: &LogFile, from: Spot, to: Spot, told: bool) {
    let mut spot = from;
    while spot.index < to.index {
        let units = if spot.index + 1 == to.index { u64::from(to.units - spot.units) } else { 1 };
        if let Some(word) = file.control(spot.units) {
            word.store(Control::skipped(units, file.number(spot)).bits(), Relaxed);
        }
        let mark = file.mark_at(spot.index);
        if !mark.is_done() || mark.is_rubbish() {
            file.give_up(spot.index, if told { Mark::PASSED } else { Mark::LOST });
        }
        spot = spot.after(units);
    }
}

/// No hint says more than there is.
fn clamp(file: &LogFile, end: Spot) {
    let hints = file.hints();
    for hint in [&hints.taken, &hints.durable] {
        if Spot::of(hint.load(Acquire)) > end {
            hint.store(0, Relaxed);
        }
    }
    if hints.done.load(Acquire) > u64::from(end.index) {
        hints.done.store(0, Relaxed);
    }
}

/// Opens a file; if it was cut off it gets its length again, and how much was missing is told.
fn open(store: &Store, first: u64) -> Result<Option<(LogFile, u64)>, Error> {
    match store.file(first) {
        Ok(file) => Ok(file.map(|file| (file, 0))),
        Err(error @ Error::Damaged { .. }) => match store.lengthen(first) {
            Ok(missing) if missing > 0 => Ok(store.file(first)?.map(|file| (file, missing))),
            Ok(_) | Err(Error::Damaged { .. }) => Err(error),
            Err(other) => Err(other),
        },
        Err(other) => Err(other),
    }
}

/// A file of which not even the header is readable gets another name, for who wants to look at it. Gives how long it is.
fn set_aside(store: &Store, first: u64, report: &mut Recovered) -> Result<u64, Error> {
    let name = super::file::called(first);
    let aside = format!("{name}{ASIDE}");
    let (from, to) = (store.reach(&name), store.reach(&aside));
    let length = crate::os::file::facts_at(&from).map_or(0, |facts| facts.length);
    rustix::fs::rename(&from, &to)
        .map_err(|errno| super::trouble("to set aside a file of", &store.path, errno))?;
    report.set_aside.push(store.path.join(aside));
    Ok(length)
}
