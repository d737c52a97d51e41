//! The log of a mailbox that is kept in files, as its members in this domain see it.
//!
//! Such a mailbox has a segment in the domain, in which nothing travels: its members, who sleeps, and how far things have got. Beside it is a symbolic link, called
//! after its id, to the directory where the messages are ([`journal`](crate::journal)). The link is there before the name is, and goes with it.
//!
//! A segment that is there means that the log was put in order since the machine started; without one, whoever opens the
//! mailbox does that ([`begin`]). What a member has in hand is marked in the log with the number of its life, which the segment has, too.
//!
//! **What if it dies here?** Making: the lock on the log's directory goes, and the next one puts it in order again. The rest: see `journal`.

use super::entry::{self, Plan};
use super::name::Name;
use super::segment::{Id, Segment};
use super::sockets::{LOG, called};
use super::{Domain, failed};
use crate::error::Error;
use crate::journal::described::Fsync;
use crate::journal::file::LogFile;
use crate::journal::marks::Holder;
use crate::journal::recovery::{self, Recovered};
use crate::journal::store::{self, Life, Store};
use crate::journal::words::{LIFE, Says, Spot};
use crate::os::{Errno, file};
use crate::queue::slots::Member;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A log that is in use.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) store: Store,
    /// See `Holder`.
    pub(crate) life: u32,
    /// Those that this process has mapped, in order.
    files: Mutex<Vec<Arc<LogFile>>>,
    /// Names of senders that were looked up.
    names: Mutex<Vec<(Member, String)>>,
}

/// What this process found when it put a log in order, until somebody asks.
static FOUND: Mutex<Vec<(Id, Recovered)>> = Mutex::new(Vec::new());

/// Puts the log in a directory in order and gives it a segment, if no other process uses it.
pub(crate) fn begin(domain: &Domain, name: &Name, plan: &Plan<'_>, store: Store) -> Result<Id, Error> {
    store.have_alone()?;
    let before = store.life();
    if is_alive(&before) {
        return Err(store.refused(format!(
            "it is in use as {:?} in the domain {}; open it there",
            before.name, before.domain
        )));
    }
    let recovered = recovery::put_in_order(&store, false)?;
    let life = Life {
        number: before.number % LIFE + 1,
        boot: boot(),
        id: store.described.id,
        domain: domain.path().display().to_string(),
        name: name.to_string(),
    };
    store.begin_life(&life)?;
    // Before it has its name, so that nobody who comes by that waits for one who stands still. For a moment between the two locks anybody may have it.
    store.share()?;
    if store.life().number != life.number {
        return Err(store.refused("another process was just opening it, too".into()));
    }
    let _making = domain.hold_making()?;
    let link = |segment: &Segment| {
        segment.header().log.life.store(life.number.into(), Relaxed);
        let durable = store.described.fsync != Fsync::Never; // then it was just synced
        segment.header().log.durable.store(if durable { recovered.next } else { 0 }, Relaxed);
        segment.link_log(&store.path)
    };
    let (segment, ()) = entry::create_with(domain, name, plan, link)?;
    note(segment.id(), recovered);
    Ok(segment.id())
}

/// Opens the log of a mailbox, to become one of those who use it.
pub(crate) fn join(segment: &Segment) -> Result<Arc<Log>, Error> {
    if segment.header().log.failed.load(Acquire) != 0 {
        mend(segment)?;
    }
    segment.open_log(true)
}

/// Puts a log in order that failed, if nobody has it open any more.
#[cold]
fn mend(segment: &Segment) -> Result<(), Error> {
    let store = Store::open(&segment.log_path()?, true)?;
    if store.described.id != segment.id().words() {
        return Ok(()); // who opens it is told
    }
    match store.have_alone() {
        Err(Error::LogRefused { .. }) => return Ok(()), // somebody has: it is as it was
        alone => alone?,
    }
    let recovered = recovery::put_in_order(&store, false)?;
    segment.begin_again(recovered.next);
    note(segment.id(), recovered);
    Ok(())
}

/// Keeps what was found until somebody asks.
fn note(id: Id, recovered: Recovered) {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    found.retain(|(known, _)| *known != id);
    found.push((id, recovered));
}

impl Domain {
    /// What was found when this process opened a mailbox that is kept in files, and that nobody used: it was put in order. Told once; nothing if another process did
    /// that, or if there is nothing to tell.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-recovered-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// # let files = format!("/dev/shm/tubepost-doc-recovered-files-{}", std::process::id());
    /// use tubepost::{File, Mailbox};
    ///
    /// let options = Mailbox::<str>::options().domain(&domain).strategy(File { dir: Some(files.into()), ..File::default() });
    /// options.create("journal")?;
    /// if let Some(found) = domain.recovered("journal")? {
    ///     eprintln!("journal: {found}");
    /// }
    /// # domain.remove("journal")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`]; [`Error::BadName`]; [`Error::Denied`].
    pub fn recovered(&self, name: &str) -> Result<Option<Recovered>, Error> {
        let (_, segment) = entry::open(self, &Name::new(name)?)?;
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        let at = found.iter().position(|(id, _)| *id == segment.id());
        Ok(at.map(|at| found.swap_remove(at).1).filter(|found| !found.is_clean()))
    }
}

/// Where the mailboxes of a domain are kept if nobody says.
fn usual_place(domain: &Domain) -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
    let of = match domain.is_usual() {
        true => "default".to_owned(),
        false => format!("at{}", domain.path().display()).replace('/', ","),
    };
    state.filter(|path| path.is_absolute()).map(|state| state.join("tubepost").join(of))
}

/// Where a mailbox of this name is kept if nobody says.
pub(crate) fn usual_directory(domain: &Domain, name: &Name) -> Result<PathBuf, Error> {
    usual_place(domain).map(|place| place.join(name.file())).ok_or_else(|| Error::BadOption {
        what: "the directory of a mailbox in files",
        given: "left out where neither XDG_STATE_HOME nor HOME is set".into(),
        allowed: "a directory: say which".into(),
    })
}

/// Mailboxes that are kept where they usually are, and have not been opened since the machine started.
pub(super) fn asleep(domain: &Domain) -> Vec<Name> {
    let entries = usual_place(domain).map(std::fs::read_dir).into_iter().flatten().flatten().flatten();
    let named = entries.filter(|entry| store::is_there(&entry.path()));
    let names = named.filter_map(|entry| Name::of_file(&entry.file_name().to_string_lossy()));
    names.filter(|name| file::facts_at(&domain.file(name)).is_err()).collect()
}

/// A new log's id.
pub(crate) fn fresh_id() -> [u64; 2] {
    Id::fresh().words()
}

/// Since when the machine runs.
fn boot() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Whether the segment by which a log was used last is there still.
fn is_alive(life: &Life) -> bool {
    if life.boot != boot() || life.name.is_empty() {
        return false;
    }
    let Ok(name) = Name::new(&life.name) else { return false };
    let Some(domain) = Domain::there(Path::new(&life.domain)) else { return false };
    entry::open(&domain, &name).is_ok_and(|(_, segment)| {
        let same =
            segment.id() == Id::of(life.id) && segment.header().log.life.load(Acquire) == life.number.into();
        same && !segment.is_over()
    })
}

impl Segment {
    /// Its log was put in order, and the next message has this number.
    fn begin_again(&self, next: u64) {
        let words = &self.header().log;
        for word in [&words.durable, &words.taken] {
            word.store(word.load(Acquire).min(next), Relaxed);
        }
        words.failed.store(0, Release);
    }

    fn link_log(&self, directory: &Path) -> Result<(), Error> {
        let link = self.domain.path().join(called(self.id(), LOG));
        let _ = file::remove(&link); // a dead one's
        file::make_link(directory, &link)
            .map_err(|errno| failed("to make a link in", self.domain.path(), errno))
    }

    /// Where its log is.
    pub(crate) fn log_path(&self) -> Result<PathBuf, Error> {
        let link = self.domain.path().join(called(self.id(), LOG));
        match std::fs::read_link(&link) {
            Ok(path) => Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.is_nameless() => {
                let domain = self.domain.path().into();
                Err(Error::NoSuchName { name: self.name.to_string(), domain, wanted: "a mailbox" })
            }
            Err(error) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Err(failed("to find the log by", &link, errno))
            }
        }
    }

    /// Opens its log, one of those who use it.
    pub(crate) fn open_log(&self, writes: bool) -> Result<Arc<Log>, Error> {
        let store = Store::open(&self.log_path()?, writes)?;
        if store.described.id != self.id().words() {
            return Err(store.refused("another log is there than the one that is in use".into()));
        }
        store.share()?;
        Ok(self.log_of(store))
    }

    /// The log of a mailbox that is removed, or was by one who died in that. Nothing: it is gone, or another one is there, or it is in use anew.
    pub(crate) fn log_to_take_away(&self) -> Result<Option<Arc<Log>>, Error> {
        if !self.geometry.choice.filed || self.is_nameless() {
            return Ok(None);
        }
        let path = match self.log_path() {
            Err(Error::Os { errno, .. }) if errno == Errno::NOENT.raw_os_error() => return Ok(None),
            Err(Error::NoSuchName { .. }) => return Ok(None),
            path => path?,
        };
        if !store::is_there(&path) {
            return Ok(None);
        }
        let store = Store::open(&path, true)?;
        let of_this_life =
            |store: &Store| u64::from(store.life().number) == self.header().log.life.load(Acquire);
        if store.described.id != self.id().words() || !of_this_life(&store) {
            return Ok(None);
        }
        store.share()?;
        // It may have begun while that was waited for.
        let log = of_this_life(&store).then(|| self.log_of(store));
        Ok(log)
    }

    fn log_of(&self, store: Store) -> Arc<Log> {
        let life = self.header().log.life.load(Acquire) as u32;
        Arc::new(Log { store, life, files: Mutex::default(), names: Mutex::default() })
    }

    /// Of a mailbox that is kept in files: its log.
    pub(crate) fn log(&self) -> Option<&Arc<Log>> {
        self.log.get()
    }

    /// From now on what the dead have there is put in order, too.
    pub(crate) fn set_log(&self, log: Arc<Log>) {
        let _ = self.log.set(log);
    }

    /// Its log, to look.
    pub(super) fn look_at_log(&self) -> Option<Arc<Log>> {
        if !self.geometry.choice.filed {
            return None;
        }
        self.log.get().map(Arc::clone).or_else(|| self.open_log(false).ok())
    }

    /// Whether the holder of something in the log is dead.
    pub(crate) fn has_lost(&self, holder: Holder) -> bool {
        holder.life != self.header().log.life.load(Acquire) as u32 || self.is_dead(holder.member)
    }
}

impl Log {
    fn cached(&self) -> MutexGuard<'_, Vec<Arc<LogFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, file: LogFile) -> Arc<LogFile> {
        let mut files = self.cached();
        match files.binary_search_by_key(&file.first, |known| known.first) {
            Ok(at) => Arc::clone(&files[at]),
            Err(at) => {
                let file = Arc::new(file);
                files.insert(at, Arc::clone(&file));
                file
            }
        }
    }

    /// The file that begins at this number, or behind it.
    pub(crate) fn file_from(&self, number: u64) -> Result<Option<Arc<LogFile>>, Error> {
        let known = self.cached().iter().find(|file| file.first == number).map(Arc::clone);
        match known {
            Some(file) => Ok(Some(file)),
            None => Ok(self.store.file_from(number)?.map(|file| self.keep(file))),
        }
    }

    /// Where one goes on who met rubbish in a file, and the number of the last message that is lost by that.
    pub(crate) fn beyond(
        &self,
        file: &Arc<LogFile>,
        here: Spot,
    ) -> Result<Option<(Arc<LogFile>, Spot, u64)>, Error> {
        if let Some(next) = file.resume(here) {
            return Ok(Some((Arc::clone(file), next, file.number(next) - 1)));
        }
        let next = self.file_from(file.number(here))?.filter(|next| next.first > file.first);
        Ok(next.map(|next| {
            let last = next.first.saturating_sub(1).max(file.number(here));
            (next, Spot::default(), last)
        }))
    }

    /// Makes the file that follows one that ended here, if nobody did.
    pub(crate) fn make_next(&self, file: &LogFile, end: Spot) -> Result<Arc<LogFile>, Error> {
        let number = file.number(end);
        if let Some(next) = self.file_from(number)? {
            return Ok(next);
        }
        let begins = file.begins + u64::from(end.units) * crate::journal::words::UNIT;
        let bytes = u64::from(file.units) * crate::journal::words::UNIT;
        self.store.make(number, begins, self.store.described.max_message, bytes).map(|file| self.keep(file))
    }

    /// The oldest file; the first one is made if there is none.
    pub(crate) fn oldest(&self) -> Result<Arc<LogFile>, Error> {
        loop {
            let Some(first) = self.store.files()?.first().copied() else {
                let longest = self.store.described.max_message;
                return self.store.make(0, 0, longest, 0).map(|file| self.keep(file));
            };
            if let Some(file) = self.file_from(first)? {
                return Ok(file);
            } // else it has just been taken away
        }
    }

    /// The newest file.
    pub(crate) fn newest(&self) -> Result<Arc<LogFile>, Error> {
        match self.store.files()?.last() {
            Some(last) => self.file_from(*last)?.map_or_else(|| self.oldest(), Ok),
            None => self.oldest(),
        }
    }

    /// All files, the oldest first.
    pub(crate) fn all(&self) -> Result<Vec<Arc<LogFile>>, Error> {
        let mut all = Vec::new();
        for first in self.store.files()? {
            if let Some(file) = self.file_from(first)?
                && file.first == first
            {
                all.push(file);
            }
        }
        Ok(all)
    }

    /// The file that has the record of this number, or, where that is gone, the oldest.
    pub(crate) fn file_of(&self, number: u64) -> Result<Arc<LogFile>, Error> {
        let has =
            |file: &&Arc<LogFile>| file.first <= number && number < file.first + u64::from(file.tail().index);
        let known = self.cached().iter().find(has).map(Arc::clone);
        if let Some(file) = known {
            return Ok(file);
        }
        let files = self.store.files()?;
        match files.iter().rev().find(|first| **first <= number) {
            Some(first) => self.file_from(*first)?.map_or_else(|| self.oldest(), Ok),
            None => self.oldest(),
        }
    }

    /// The name of a sender, by its number in the log.
    pub(crate) fn name_of(&self, number: Member) -> String {
        if number == 0 {
            return String::new();
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, name)) = names.iter().find(|(known, _)| *known == number) {
            return name.clone();
        }
        let name = self.store.name_of(number);
        if !name.is_empty() {
            names.push((number, name.clone()));
        }
        name
    }

    /// Forgets files that are gone.
    pub(crate) fn forget_before(&self, first: u64) {
        self.cached().retain(|file| file.first >= first);
    }

    /// Gives back what the dead have in hand, and makes an end of what they claimed. Says how much waits to be taken again.
    pub(crate) fn give_back(&self, mut is_dead: impl FnMut(Holder) -> bool) -> u64 {
        let Ok(files) = self.all() else { return 0 };
        let mut back = 0;
        for file in files {
            if !file.is_writable() {
                continue;
            }
            back += file.give_back_of_the_dead(&mut is_dead);
        }
        back
    }

    /// Makes records of the dead ones without a message, from the first that may still be received on.
    pub(crate) fn skip_dead(&self, mut is_dead: impl FnMut(Member) -> bool) {
        let Ok(files) = self.all() else { return };
        for file in files {
            let mut spot = file.taken();
            while let Some(next) = file.step(spot) {
                file.skip(spot, &mut is_dead);
                spot = next;
            }
        }
    }

    /// Nobody sends or receives from now on. Gives how many messages nobody received: the same, whoever counts.
    pub(crate) fn close(&self, mut is_dead: impl FnMut(Holder) -> bool) -> Result<u64, Error> {
        loop {
            let file = self.newest()?;
            // Where rubbish is up to the end nobody appends.
            let Some(end) = file.end_beyond_rubbish() else { break };
            match file.says(end) {
                // It says that it ends before it begins.
                Says::End if self.make_next(&file, end)?.first == file.first => break,
                Says::End => {}
                Says::Closed => break,
                _ if file.close(end) => break,
                _ => {}
            }
        }
        let mut buried = 0;
        for file in self.all()? {
            let mut spot = file.taken();
            while let Some(next) = file.step(spot).or_else(|| file.resume_if_rubbish(spot)) {
                file.skip(spot, |member| is_dead(Holder { life: self.life, member }));
                spot = next;
            }
            file.give_back_of_the_dead(&mut is_dead);
            buried += file.bury(spot.index, self.life);
        }
        Ok(buried)
    }

    /// How many messages were never taken, are in hand, and came back, how many of those that are there nobody received; and the number of the next one.
    pub(crate) fn count(&self) -> Result<([u64; 4], u64), Error> {
        let (mut counts, mut next) = ([0; 4], 0);
        for file in self.all()? {
            let tail = file.tail();
            for (count, more) in counts.iter_mut().zip(file.count(tail.index)) {
                *count += more;
            }
            next = file.number(tail);
        }
        Ok((counts, next))
    }
}

/// Where the files of a mailbox of this name are.
pub(crate) fn directory(domain: &Domain, name: &Name) -> Result<PathBuf, Error> {
    match entry::open(domain, name) {
        Ok((_, segment)) if segment.geometry.choice.filed => segment.log_path(),
        Ok(_) => Err(Error::BadOption {
            what: "a journal",
            given: format!("that of {:?}, which is not kept in files", name.as_str()),
            allowed: "only that of a mailbox of the file strategy".into(),
        }),
        Err(missing @ Error::NoSuchName { .. }) => match usual_directory(domain, name) {
            Ok(directory) if store::is_there(&directory) => Ok(directory),
            _ => Err(missing),
        },
        Err(other) => Err(other),
    }
}

/// Puts the log in a directory in order from its beginning on, if nobody uses it.
pub(crate) fn repair(directory: &Path) -> Result<Recovered, Error> {
    let store = Store::open(directory, true)?;
    store.have_alone()?;
    let recovered = recovery::put_in_order(&store, true)?;
    // The segment by which it was used says how far things had got.
    let life = store.life();
    if let (Ok(name), Some(domain)) = (Name::new(&life.name), Domain::there(Path::new(&life.domain)))
        && let Ok((_, segment)) = entry::open(&domain, &name)
        && segment.id() == Id::of(life.id)
    {
        segment.begin_again(recovered.next);
    }
    Ok(recovered)
}

/// Takes away a mailbox of this name that nobody has opened since the machine started. Gives how much waited in it.
pub(super) fn remove_asleep(domain: &Domain, name: &Name) -> Result<Option<u64>, Error> {
    let directory = match usual_directory(domain, name) {
        Ok(directory) if store::is_there(&directory) => directory,
        _ => return Ok(None),
    };
    let store = Store::open(&directory, true)?;
    store.have_alone()?;
    recovery::put_in_order(&store, false)?;
    let log = Log { store, life: 0, files: Mutex::default(), names: Mutex::default() };
    let ([fresh, held, back, _], _) = log.count()?;
    log.store.destroy()?;
    Ok(Some(fresh + held + back))
}
