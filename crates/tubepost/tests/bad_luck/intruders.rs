//! What somebody else put there: links, directories that others may write, files that are not ours to open.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use tubepost::{Domain, Error, Mailbox, Sender};

use crate::stage::{Child, Cue, Place, Role, become_user, files_in, is_root, skip};

pub const ROLES: &[Role] = &[("nobody", nobody)];

const NOBODY: u32 = 65534;

/// A link where a mailbox should be is neither followed nor replaced, wherever it leads.
#[test]
fn a_planted_link_is_not_followed() {
    let (place, other) = (Place::new(), Place::new());
    let _real = Mailbox::<u64>::options().domain(other.domain()).own("real").expect("a free name");
    let victim = other.path().with_extension("victim");
    fs::write(&victim, "untouched").expect("a fresh file");
    for (name, target) in [
        ("to-a-file", victim.clone()),
        ("to-nothing", other.path().with_extension("nothing")),
        ("to-a-directory", other.path().to_owned()),
        ("to-a-mailbox", other.file("real")),
        ("to-itself", place.file("to-itself")),
    ] {
        symlink(&target, place.file(name)).expect("a fresh link");
        for attempt in ["open", "own", "stat", "gc", "own"] {
            let done = match attempt {
                "open" => Sender::<u64>::options().domain(place.domain()).open(name).map(|_| ()),
                "own" => Mailbox::<u64>::options().domain(place.domain()).own(name).map(|_| ()),
                "stat" => place.domain().stat(name).map(|_| ()),
                _ => place.domain().gc().and(Err(Error::Forked)),
            };
            assert!(done.is_err(), "{attempt} {name} followed the link");
            let link = fs::symlink_metadata(place.file(name)).expect("still there");
            assert!(link.is_symlink(), "{attempt} {name} replaced the link");
        }
    }
    assert_eq!(fs::read(&victim).expect("still there"), b"untouched");
    assert!(!other.path().with_extension("nothing").exists(), "a link to nothing made something");
    let listed = place.domain().list().expect("our own");
    assert!(listed.iter().all(|it| it.stat.is_err()), "{listed:?}");
    assert_eq!(other.domain().list().expect("our own").len(), 1);
    fs::remove_file(&victim).expect("our own");
}

/// Neither a directory nor a pipe nor a socket is a mailbox, and opening a pipe must not wait for its other end.
#[test]
fn other_kinds_of_files_are_refused() {
    let place = Place::new();
    fs::create_dir(place.file("directory")).expect("fresh");
    let made = Command::new("mkfifo").arg(place.file("pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(place.file("socket")).expect("fresh");
    for name in ["directory", "pipe", "socket"] {
        assert!(Sender::<u64>::options().domain(place.domain()).open(name).is_err(), "opened a {name}");
        assert!(Mailbox::<u64>::options().domain(place.domain()).own(name).is_err(), "replaced a {name}");
        assert!(place.domain().stat(name).is_err());
        assert!(place.file(name).exists());
    }
    place.domain().list().expect("it can be listed");
    place.domain().gc().expect("it can be swept");
}

#[track_caller]
fn domain_refused(path: &Path) {
    match Domain::open(path) {
        Err(Error::DomainRefused { path: said, why }) => {
            assert_eq!(said, path);
            assert!(!why.is_empty());
        }
        other => panic!("{} is no fit domain, but {other:?}", path.display(), other = other.map(|_| ())),
    }
}

#[test]
fn a_domain_that_others_may_write_is_refused() {
    for mode in [0o777, 0o1777, 0o702, 0o722, 0o720] {
        let path = Place::unused();
        fs::create_dir(&path).expect("fresh");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our own");
        domain_refused(&path);
        assert!(files_in(&path).is_empty(), "nothing is made in there");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("our own");
        assert!(Domain::open(&path).is_ok(), "the same with a proper mode");
        fs::remove_dir_all(&path).expect("our own");
    }
}

#[test]
fn a_domain_behind_a_link_is_refused() {
    let place = Place::new();
    let link = place.path().with_extension("link");
    symlink(place.path(), &link).expect("fresh");
    domain_refused(&link);
    fs::remove_file(&link).expect("our own");
}

#[test]
fn a_domain_that_is_a_file_is_refused() {
    let path = Place::unused();
    fs::write(&path, "a file").expect("fresh");
    domain_refused(&path);
    assert_eq!(fs::read(&path).expect("still there"), b"a file");
    fs::remove_file(&path).expect("our own");
}

#[test]
fn a_new_domain_is_private_and_a_missing_parent_an_error() {
    let place = Place::new();
    let mode = fs::metadata(place.path()).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert!(Domain::open(place.path().join("no/such/parent")).is_err());
}

#[test]
fn a_foreign_domain_is_refused() {
    if !is_root() {
        return skip("a_foreign_domain_is_refused", "needs root, to give a directory away");
    }
    let path = Place::unused();
    fs::create_dir(&path).expect("fresh");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("our own");
    chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may");
    domain_refused(&path);
    assert!(files_in(&path).is_empty(), "nothing is made in there");
    fs::remove_dir_all(&path).expect("root may");
}

/// Tries what an ordinary user without permission tries; the argument is a directory that is its own.
fn nobody(cue: &mut Cue) {
    become_user(NOBODY);
    let denied = |what: &str, result: Result<(), Error>| match result {
        Err(error @ Error::Denied { .. }) => assert!(!error.to_string().is_empty()),
        other => panic!("{what}: not denied but {other:?}"),
    };
    // Root's own domain: whether its mode or its owner is met first is no matter.
    match Domain::open(cue.arg(1)) {
        Err(Error::Denied { .. } | Error::DomainRefused { .. }) => {}
        other => panic!("somebody else's domain: {:?}", other.map(|_| ())),
    }
    // A directory in which nothing can be made.
    denied("a domain below root's", Domain::open(Path::new(cue.arg(1)).join("sub")).map(|_| ()));
    let own = Path::new(cue.arg(0));
    let domain = Domain::open(own).expect("its own");
    let inbox = Mailbox::<u64>::options().domain(&domain).own("box").expect("a free name");
    // A mailbox whose file may not be opened.
    let file = own.join("box");
    fs::set_permissions(&file, Permissions::from_mode(0o000)).expect("its own");
    denied("open", Sender::<u64>::options().domain(&domain).open("box").map(|_| ()));
    denied("stat", domain.stat("box").map(|_| ()));
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("its own");
    Sender::<u64>::options().domain(&domain).open("box").expect("allowed again").send(1).expect("it lives");
    assert_eq!(inbox.recv(), Ok(1));
    // A domain that became read-only.
    fs::set_permissions(own, Permissions::from_mode(0o500)).expect("its own");
    denied("own", Mailbox::<u64>::options().domain(&domain).own("other").map(|_| ()));
    // What exists works on in there.
    Sender::<u64>::options()
        .domain(&domain)
        .open("box")
        .expect("reading is enough")
        .send(2)
        .expect("it lives");
    assert_eq!(inbox.recv(), Ok(2));
    // Closing where nothing can be removed still closes.
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("reading is enough");
    assert_eq!(inbox.close(), Ok(tubepost::Closed { uncollected: 0 }));
    assert!(out.is_closed());
    cue.say("done");
}

#[test]
fn without_permission() {
    if !is_root() {
        return skip("without_permission", "needs root, to become somebody without permission");
    }
    let roots = Place::new();
    let path = Place::unused();
    fs::create_dir(&path).expect("fresh");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("our own");
    chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may");
    let mut nobody = Child::start("nobody", &[path.to_str().expect("our own path"), &roots.arg()]);
    nobody.expect("done");
    nobody.finish();
    fs::remove_dir_all(&path).expect("root may");
}
