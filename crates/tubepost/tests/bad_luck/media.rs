//! Messages in files, on what they lie: file systems of several kinds, one that can't be written, one that other machines share; and directories that
//! have more than one name.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tubepost::{Domain, Entry, Error, File, Fsync, Journal, Mailbox, Receiver, Sender, TryRecvError};

use crate::memory::small;
use crate::stage::{Child, Cue, Place, Role, mount, mount_again, mount_read_only, skip};

pub const ROLES: &[Role] = &[("media", media)];

fn create(domain: &Domain, name: &str, directory: &Path) -> Result<tubepost::Id, Error> {
    let file = File { dir: Some(directory.into()), fsync: Some(Fsync::Each), ..File::default() };
    Mailbox::<u64>::options().domain(domain).strategy(file).create(name)
}

/// What a restart of the machine leaves of a domain.
fn restart(domain: &Domain) {
    for file in fs::read_dir(domain.path()).expect("our own").flatten() {
        if file.file_type().expect("our own").is_file() {
            fs::remove_file(file.path()).expect("our own");
        }
    }
}

/// A mailbox there works, and outlives a restart.
fn works_in(domain: &Domain, directory: &Path) {
    create(domain, "box", directory).expect("it can be made");
    let out = Sender::<u64>::options().domain(domain).open("box").expect("it exists");
    (0..100).for_each(|number| out.send(number).expect("room"));
    drop(out);
    restart(domain);
    create(domain, "box", directory).expect("it is there");
    let inbox = Receiver::<u64>::options().domain(domain).open("box").expect("it exists");
    (0..100).for_each(|number| assert_eq!(inbox.recv(), Ok(number)));
    assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    drop(inbox);
    assert!(Journal::open(directory).expect("it is there").verify().expect("readable").is_sound());
    domain.remove("box").expect("it is ours");
    assert!(!directory.exists(), "the log's directory is gone with it");
}

/// The other roles are in namespaces with mounts of their own. The arguments are a directory to mount something on, and what.
fn media(cue: &mut Cue) {
    let Some(domain) = small(cue, "64m") else { return };
    let [lower, upper, work, top] = ["..lower", "..upper", "..work", "..top"].map(|name| {
        let path = domain.path().join(name);
        fs::create_dir(&path).expect("fresh");
        path
    });
    let text = |path: &Path| path.to_str().expect("our own path").to_owned();
    let mounted = |done: std::io::Result<()>| match done {
        Ok(()) => true,
        Err(error) => {
            cue.say(format!("skip it cannot be mounted here: {error}"));
            false
        }
    };
    match cue.arg(1) {
        "overlay" => {
            let options =
                format!("lowerdir={},upperdir={},workdir={}", text(&lower), text(&upper), text(&work));
            if !mounted(mount("overlay", &text(&top), "overlay", 0, &options)) {
                return;
            }
            works_in(&domain, &top.join("files"));
        }
        "read-only" => {
            let files = top.join("files");
            create(&domain, "box", &files).expect("it can be made");
            let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
            out.send(7).expect("room");
            drop(out);
            restart(&domain);
            if !mounted(mount_read_only(&text(&top))) {
                return;
            }
            for directory in [&files, &top.join("others")] {
                let told = create(&domain, "box", directory).expect_err("it can't be written").to_string();
                assert!(told.to_lowercase().contains("read-only"), "{told}");
            }
            // It can be looked at.
            let journal = Journal::open(&files).expect("it is there");
            assert!(journal.verify().expect("readable").is_sound());
            let entries: Vec<_> = journal.entries(0).expect("readable").collect();
            assert!(matches!(&entries[..], [Ok(Entry::Sent { .. })]), "{entries:?}");
        }
        "shared" => {
            // A file system that others serve. Who may not be served by them is told what kind it is, and nobody is asked.
            let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse");
            let Ok(fuse) = fuse else { return cue.say("skip there is no /dev/fuse") };
            let options = format!("fd={},rootmode=40000,user_id=65534,group_id=65534", fuse.as_raw_fd());
            if !mounted(mount("served", &text(&top), "fuse", 0, &options)) {
                return;
            }
            let refused = create(&domain, "box", &top.join("files")).expect_err("others write there");
            assert!(matches!(refused, Error::LogRefused { .. }), "{refused:?}");
            assert!(refused.to_string().contains("network file system (FUSE)"), "{refused}");
        }
        "two names" => {
            let (files, bound, link) = (top.join("files"), upper, work.join("link"));
            create(&domain, "box", &files).expect("it can be made");
            symlink(&files, &link).expect("fresh");
            if !mounted(mount_again(&text(&files), &text(&bound))) {
                return;
            }
            let around = top.join("..").join("..top").join("files");
            for name in [&link, &bound, &around] {
                let other = create(&domain, "other", name).expect_err("it is another mailbox's");
                assert!(matches!(other, Error::LogRefused { .. }), "{other:?}");
                assert!(other.to_string().contains("box"), "{other}");
            }
            // The same mailbox is found by any of them.
            for name in [&link, &bound, &around] {
                let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
                out.send(7).expect("room");
                drop(out);
                restart(&domain);
                create(&domain, "box", name).expect("it is the same");
                let inbox = Receiver::<u64>::options().domain(&domain).open("box").expect("it exists");
                assert_eq!(inbox.recv(), Ok(7));
            }
        }
        other => panic!("what is {other}?"),
    }
    cue.say("done");
}

fn on(what: &str) {
    let path = Place::unused();
    fs::create_dir(&path).expect("fresh");
    match Child::start_in_namespace("media", &[path.to_str().expect("our own path"), what]) {
        Err(why) => skip(what, &why),
        Ok(mut child) => match child.hear().strip_prefix("skip ") {
            Some(why) => skip(what, why),
            None => child.finish(),
        },
    }
    fs::remove_dir(&path).expect("nothing was written outside the namespace");
}

#[test]
fn on_the_disk_where_this_was_built() {
    let place = Place::new();
    works_in(
        place.domain(),
        &PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("media-{}", std::process::id())),
    );
}

#[test]
fn on_a_tmpfs() {
    let place = Place::new();
    works_in(place.domain(), &Place::files_of(place.domain()));
}

#[test]
fn on_an_overlay() {
    on("overlay");
}

#[test]
fn where_nothing_can_be_written_nothing_is_opened() {
    on("read-only");
}

#[test]
fn what_other_machines_write_to_is_refused() {
    on("shared");
}

#[test]
fn a_directory_with_two_names_is_one() {
    on("two names");
}
