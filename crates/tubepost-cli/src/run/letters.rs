//! The mailbox for dead letters: made if it is missing, and watched while they can't go there.
//!
//! Letters that can't be delivered wait in the mailbox that they come from. Nobody gets them, and `--until-empty` waits
//! for them: whoever looks on has to be told, once, and again when the reason is another.

use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Mailbox, Stat};

use crate::cli::Run;
use crate::exit::Failure;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// After so many looks that found letters, and nothing wrong with where they go, that is told.
const PUZZLED: u32 = 6;

pub struct Letters {
    domain: Domain,
    /// Where they go, and where they come from.
    dead: String,
    from: String,
    label: String,
    /// It was missing at the start.
    made: bool,
    watch: Watch,
}

struct Watch {
    last: Instant,
    /// So many messages had been taken then.
    taken: u64,
    /// Letters waited at so many looks, one after the other.
    looks: u32,
    said: Option<String>,
}

impl Letters {
    /// Sees to it that there is a mailbox for dead letters, which can carry all that the other one carries.
    pub fn provide(domain: &Domain, args: &Run, label: &str) -> Result<Option<Letters>, Failure> {
        let Some(dead) = &args.dead_letter else { return Ok(None) };
        let watch = Watch { last: Instant::now(), taken: 0, looks: 0, said: None };
        let mut letters = Letters {
            domain: domain.clone(),
            dead: dead.clone(),
            from: args.name.clone(),
            label: label.into(),
            made: false,
            watch,
        };
        match letters.make() {
            Ok(()) => letters.made = true,
            // What is wrong with one that is there already, opening it says.
            Err(Error::Exists { .. } | Error::Owned { .. }) => {}
            Err(error) => return Err(Failure::from(error).about(dead)),
        }
        Ok(Some(letters))
    }

    fn make(&self) -> Result<(), Error> {
        let longest = self.domain.stat(&self.from)?.max_message;
        let options = Mailbox::<[u8]>::options().domain(&self.domain).format(&self.label);
        options.max_message(longest).unbounded().create(&self.dead).map(drop)
    }

    /// Looks now and then whether letters wait that can't be delivered; gives what there is to say. `idle`: some worker
    /// has nothing to do.
    pub fn look(&mut self, idle: bool, taken: u64, stat: impl FnOnce() -> Option<Stat>) -> Option<String> {
        if self.watch.last.elapsed() < EVERY {
            return None;
        }
        self.watch.last = Instant::now();
        let quiet = idle && taken == self.watch.taken;
        self.watch.taken = taken;
        // What waits though a worker has nothing to do is for nobody here.
        let waiting = if quiet { stat().map_or(0, |stat| stat.depth) } else { 0 };
        self.watch.looks = if waiting > 0 { self.watch.looks + 1 } else { 0 };
        if self.watch.looks == 0 {
            self.watch.said = None;
            return None;
        }
        let why = match self.domain.stat(&self.dead) {
            Err(Error::NoSuchName { .. }) if self.made => match self.make() {
                Ok(()) => "it was removed, and is made again".into(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
            Ok(stat) if stat.capacity.is_some_and(|capacity| stat.depth >= capacity) => {
                format!("it is full, of {} messages", stat.depth)
            }
            Ok(_) if self.watch.looks >= PUZZLED => "it takes none; is there memory for them?".into(),
            Ok(_) => return None,
        };
        if self.watch.said.as_ref() == Some(&why) {
            return None;
        }
        self.watch.said = Some(why.clone());
        Some(format!("{}: {waiting} dead letters wait, for {:?}: {why}", self.from, self.dead))
    }
}
