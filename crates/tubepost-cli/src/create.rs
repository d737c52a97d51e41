//! `tubepost create`: a mailbox that the system owns.

use nix::unistd::Group;
use tubepost::{Domain, Error, File, Mailbox, Retain};

use crate::cli::Create;
use crate::cli::files::{InFiles, Kept, Retained};
use crate::exit::{Failure, complain};

pub fn run(domain: &Domain, args: &Create) -> Result<(), Failure> {
    let mut options = Mailbox::<[u8]>::options().domain(domain);
    if let Some(capacity) = args.capacity {
        options = capacity.of(options);
    }
    if let Some(bytes) = args.max_message {
        options = options.max_message(bytes);
    }
    if let Some(bytes) = args.ceiling {
        options = options.ceiling(bytes);
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
    if let Some(file) = file(&args.in_files)? {
        options = options.strategy(file);
    }
    let created = options.create(&args.name);
    tell_recovered(domain, &args.name);
    made(created, args.if_missing, args.group.as_deref())
}

/// What was to be made, of this group, or to be there already.
pub fn made<T>(made: Result<T, Error>, if_missing: bool, group: Option<&str>) -> Result<(), Failure> {
    match made {
        Err(Error::Exists { .. }) if if_missing => Ok(()),
        Err(error @ Error::Owned { .. }) if if_missing => {
            // Asked for is only that the name exists; but this one is a process's, and ends with it.
            complain(error);
            Ok(())
        }
        Err(error) => Err(not_made(error, group)),
        Ok(_) => Ok(()),
    }
}

/// What is chosen of one that is kept in files. Nothing: it is not.
fn file(args: &InFiles) -> Result<Option<File>, Failure> {
    let InFiles { strategy, dir, fsync, retain, max_bytes } = args;
    let chosen = dir.is_some() || fsync.is_some() || !retain.is_empty() || max_bytes.is_some();
    if *strategy != Some(Kept::File) {
        return match chosen {
            true => Err(Failure::usage("--dir, --fsync, --retain and --max-bytes are for --strategy file")),
            false => Ok(None),
        };
    }
    let mut kept = Retain::default();
    for one in retain {
        match one {
            Retained::Messages(number) => kept.messages = Some(*number),
            Retained::Bytes(bytes) => kept.bytes = Some(*bytes),
            Retained::Age(age) => kept.age = Some(*age),
            Retained::Cursors => {}
        }
    }
    let retain = (!retain.is_empty()).then_some(kept);
    Ok(Some(File { dir: dir.clone(), fsync: *fsync, retain, max_bytes: *max_bytes }))
}

/// Says what was found when this process put in order what is kept in files.
pub fn tell_recovered(domain: &Domain, name: &str) {
    if let Ok(Some(found)) = domain.recovered(name) {
        complain(format_args!("{name}: {found}"));
    }
}

/// Why there is no new mailbox, where it was to be of this group.
pub fn not_made(error: Error, group: Option<&str>) -> Failure {
    let is_denied = matches!(error, Error::Denied { .. });
    let failure = Failure::from(error);
    if !is_denied || group.is_none() {
        return failure;
    }
    failure.noting("a mailbox can only be given to a group that you are in (`id` tells which)")
}

/// The number of a group that was given by its name or number. As for `chgrp`, a name goes first.
pub fn group(text: &str) -> Result<u32, Failure> {
    // The number that the system takes for "leave it as it is".
    const NONE: u32 = u32::MAX;
    let named = Group::from_name(text);
    if let Ok(Some(group)) = &named {
        return Ok(group.gid.as_raw());
    }
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    match (text.parse(), named) {
        (Ok(number), _) if digits && number != NONE => Ok(number),
        (_, Err(e)) => Err(Failure::failed(format!("the group {text:?} could not be looked up: {e}"))),
        _ => Err(Failure::usage(format!(
            "no group is called {text:?}; give the name of one (`getent group` lists them) or its number"
        ))),
    }
}
