//! `tubepost region`: shared data, made, written, read, watched and held.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Region};

use crate::cli::region::{Create, Hold, Read, Region as Verb, Repair, Watch, Write};
use crate::create::{group, made};
use crate::ending::Ending;
use crate::exit::{Failure, complain};
use crate::label;
use crate::output;

/// Of what does not fit, so much is read in order to tell how long it is.
const CURIOSITY: u64 = 64 << 20;

pub fn run(domain: &Domain, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create(domain, args),
        Verb::Write(args) => write(domain, args),
        Verb::Read(args) => read(domain, args),
        Verb::Watch(args) => watch(domain, args),
        Verb::Repair(args) => repair(domain, args),
        Verb::Hold(args) => hold(domain, args),
    }
}

fn create(domain: &Domain, args: &Create) -> Result<(), Failure> {
    let mut options = Region::<[u8]>::options().domain(domain).size(args.size);
    if args.in_place {
        options = options.in_place();
    }
    if let Some(longest) = args.lease_max {
        options = options.lease_max(longest);
    }
    if let Some(label) = &args.format {
        options = options.format(label);
    }
    if let Some(mode) = args.mode {
        options = options.mode(mode);
    }
    if let Some(text) = &args.group {
        options = options.group(group(text)?);
    }
    made(options.create(&args.name), args.if_missing, args.group.as_deref())
}

/// Opens a region, whatever its bytes are.
fn open(domain: &Domain, name: &str, writes: bool) -> Result<Region<[u8]>, Failure> {
    let mut options = Region::<[u8]>::options().domain(domain);
    match domain.stat(name) {
        Ok(stat) => options = options.format(label::told(stat)),
        Err(Error::NoSuchName { .. }) => {} // which is told below
        Err(error) => return Err(error.into()),
    }
    Ok(if writes { options.open(name)? } else { options.open_to_read(name)? })
}

/// From now on a signal ends this, and so does a reader of our output that goes away: nothing is left to be done then.
fn end_when_told(ending: Ending, output: bool) {
    ending.watch(output, |reason| std::process::exit(reason.code().into()));
}

/// How many bytes there are from `at` on.
fn room(region: &Region<[u8]>, at: u64) -> Result<u64, Failure> {
    let size = region.len() as u64;
    let beyond = || Failure::failed(format!("there is no byte {at}: it has {size} bytes"));
    size.checked_sub(at).ok_or_else(beyond)
}

fn write(domain: &Domain, args: &Write) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let region = open(domain, &args.name, true)?;
    end_when_told(ending, false);
    let named = |failure: Failure| failure.about(&args.name);
    let room = room(&region, args.at).map_err(named)?;
    let data = input(&region, args.at, room).map_err(named)?;
    let writing = match args.timeout {
        Some(timeout) => region.write_timeout(timeout).map_err(|error| match error {
            Error::TimedOut => named(Failure::not_our_turn()),
            other => other.into(),
        }),
        None => region.write().map_err(Failure::from),
    };
    let mut writing = writing?;
    let at = args.at as usize; // there are so many bytes
    writing.range_mut(at..at + data.len()).copy_from_slice(&data);
    writing.commit()?;
    Ok(())
}

/// All of standard input, if it fits.
fn input(region: &Region<[u8]>, at: u64, room: u64) -> Result<Vec<u8>, Failure> {
    let trouble = |e| Failure::failed(format!("standard input: {e}"));
    let mut input = output::input()?;
    let mut data = Vec::new();
    input.by_ref().take(room).read_to_end(&mut data).map_err(trouble)?;
    let more = std::io::copy(&mut input.take(CURIOSITY), &mut std::io::sink()).map_err(trouble)?;
    if more == 0 {
        return Ok(data);
    }
    let (length, size) = (room + more, region.len());
    let length = if more == CURIOSITY { format!("{length} or more") } else { length.to_string() };
    let from = if at > 0 { format!(" from byte {at} on") } else { String::new() };
    Err(Failure::failed(format!("{length} bytes on standard input don't fit{from}: it has {size} bytes")))
}

fn read(domain: &Domain, args: &Read) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let region = open(domain, &args.name, false)?;
    end_when_told(ending, true);
    let named = |failure: Failure| failure.about(&args.name);
    let room = room(&region, args.at).map_err(named)?;
    let length = args.len.unwrap_or(room);
    if length > room {
        let (at, size) = (args.at, region.len());
        let text = format!("there are no {length} bytes from byte {at} on: it has {size} bytes");
        return Err(named(Failure::failed(text)));
    }
    let (at, length) = (args.at as usize, length as usize);
    let mut data = vec![0; length];
    region.read_at(at, &mut data).map_err(|error| not_read(&args.name, error))?;
    let mut out = output::buffered()?;
    out.write_all(&data)?;
    Ok(out.flush()?)
}

/// Who may only read, as we may here, can't take a region in place from a writer that is late.
fn not_read(name: &str, error: Error) -> Failure {
    match error {
        Error::TimedOut => Failure::held_for_too_long().about(name),
        other => other.into(),
    }
}

fn repair(domain: &Domain, args: &Repair) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let region = open(domain, &args.name, true)?;
    end_when_told(ending, false);
    let named = |failure: Failure| failure.about(&args.name);
    let anew = if args.keep { None } else { Some(all(&region).map_err(named)?) };
    let mut poisoned = false;
    let fix = |bytes: &mut [u8]| {
        poisoned = true;
        anew.iter().for_each(|anew| bytes.copy_from_slice(anew));
    };
    let repaired = match args.timeout {
        Some(timeout) => region.repair_timeout(timeout, fix),
        None => region.repair(fix),
    };
    let version = repaired.map_err(|error| match error {
        Error::TimedOut if is_poisoned(&region) => named(Failure::still_poisoned()),
        Error::TimedOut => named(Failure::not_our_turn()),
        other => other.into(),
    })?;
    if !poisoned {
        complain(format_args!("{}: it is sound, in version {version}; nothing was changed", args.name));
    }
    Ok(())
}

fn is_poisoned(region: &Region<[u8]>) -> bool {
    region.stat().is_ok_and(|stat| stat.region.is_some_and(|about| about.poisoned))
}

/// As many bytes on standard input as there are.
fn all(region: &Region<[u8]>) -> Result<Vec<u8>, Failure> {
    let size = region.len();
    let data = input(region, 0, size as u64)?;
    if data.len() == size {
        return Ok(data);
    }
    let length = data.len();
    Err(Failure::failed(format!(
        "{length} bytes on standard input are not all of it: it has {size} bytes; give as many, or leave it as it is by --keep"
    )))
}

fn watch(domain: &Domain, args: &Watch) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let region = open(domain, &args.name, false)?;
    let mut seen = region.version()?;
    end_when_told(ending, true);
    loop {
        seen = region.wait_for_change(seen)?;
        output::print(format!("{seen}\n"))?;
    }
}

fn hold(domain: &Domain, args: &Hold) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let region = open(domain, &args.name, args.write)?;
    end_when_told(ending, false);
    let longest = region.lease_max();
    let lease = args.lease.unwrap_or(longest);
    if lease > longest || lease.is_zero() {
        let text = format!("the lease cannot be {lease:?}: at most {longest:?}, its lease_max");
        return Err(Failure::failed(text).about(&args.name));
    }
    if args.write { hold_to_write(&region, args, lease) } else { hold_to_read(&region, args, lease) }
}

fn hold_to_write(region: &Region<[u8]>, args: &Hold, lease: Duration) -> Result<(), Failure> {
    let writing = region.write_for(lease)?;
    let version = writing.version();
    complain(format_args!("{}: held to write, version {version}, lease {lease:?}", args.name));
    std::thread::sleep(args.duration);
    writing.commit()?;
    Ok(())
}

fn hold_to_read(region: &Region<[u8]>, args: &Hold, lease: Duration) -> Result<(), Failure> {
    let reading = region.read_for(lease).map_err(|error| not_read(&args.name, error))?;
    let (begun, version) = (Instant::now(), reading.version());
    complain(format_args!("{}: held to read, version {version}, lease {lease:?}", args.name));
    if region.is_in_place() {
        std::thread::sleep(args.duration); // with a copy, which keeps nobody from anything
        return Ok(());
    }
    match region.wait_for_change_timeout(version, args.duration) {
        Ok(_) => {
            let _ = reading.is_expired(); // not yet; from now on its lease runs
            std::thread::sleep(args.duration.saturating_sub(begun.elapsed()));
        }
        Err(Error::TimedOut) => {}
        Err(other) => return Err(other.into()),
    }
    if reading.is_expired() {
        return Err(Failure::kept_too_long(version, lease).about(&args.name));
    }
    Ok(())
}
