//! Names: what is none is refused before anything is touched; what is one works, however odd.

use tubepost::{Domain, Error, Mailbox, Sender};

use crate::stage::{Place, files_in};

fn bad_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        "/",
        "//",
        "a//b",
        "/a",
        "a/",
        "a/b/",
        ".",
        "..",
        "./a",
        "a/.",
        "../a",
        "a/..",
        "a/../b",
        "a/./b",
        "../../etc/passwd",
        "/etc/passwd",
        "/dev/shm/a",
        " ",
        "a b",
        " a",
        "a ",
        "a\tb",
        "a\n",
        "a\0b",
        "\0",
        "a,b",
        "ä",
        "a/ü",
        "日本",
        "a\u{200b}",
        "a*",
        "a?",
        "a\\b",
        "a:b",
        "a;b",
        "$a",
        "~",
        "a%2fb",
        "a'b",
        "a\"b",
        "a@b",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(256));
    names.push(format!("{}/{}", "x".repeat(128), "y".repeat(127)));
    names.push("x/".repeat(127) + "xx");
    names.push("x".repeat(100_000));
    names
}

fn good_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "a",
        "a/b",
        "a/b/c",
        "x..y",
        "..x",
        "x..",
        ".hidden",
        "-dash",
        "--help",
        "...",
        "A",
        "0",
        "_",
        "a.b-c_d/E.9",
        "a_b",
        "a-b",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(255));
    names.push("x/".repeat(127) + "x");
    names.push(format!("{}/{}", "x".repeat(127), "y".repeat(127)));
    names
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, name: &str) {
    match result.map(|_| ()) {
        Err(Error::BadName { name: said, why }) => {
            // An absurdly long one need not be said in full.
            assert!(said == name || name.len() > 256 && said.len() <= name.len(), "it says {said:?}");
            assert!(!why.is_empty());
        }
        other => panic!("{:?} is not a name, but {other:?}", &name[..name.len().min(40)]),
    }
}

#[test]
fn bad_names_are_refused() {
    let place = Place::new();
    let before = place.files();
    for name in bad_names() {
        refused(Mailbox::<u64>::options().domain(place.domain()).own(name.as_str()), &name);
        refused(Sender::<u64>::options().domain(place.domain()).open(name.as_str()), &name);
        refused(place.domain().stat(name.as_str()), &name);
    }
    assert_eq!(place.files(), before, "nothing was made");
}

/// A name that climbs out finds a prepared victim there and must not touch it.
#[test]
fn no_name_leaves_the_domain() {
    let around = Place::unused();
    std::fs::create_dir(&around).expect("a fresh directory");
    let inside = Domain::open(around.join("domain")).expect("a domain in there");
    std::fs::write(around.join("victim"), "untouched").expect("a fresh file");
    for name in ["../victim", "../new", "a/../../victim", "./../victim"] {
        refused(Mailbox::<u64>::options().domain(&inside).own(name), name);
        refused(Sender::<u64>::options().domain(&inside).open(name), name);
    }
    assert_eq!(std::fs::read(around.join("victim")).expect("still there"), b"untouched");
    assert_eq!(files_in(&around), ["domain", "victim"]);
    std::fs::remove_dir_all(&around).expect("our own");
}

/// All of them at the same time, so that no two are one.
#[test]
fn good_names_coexist() {
    let place = Place::new();
    let boxes: Vec<_> = good_names()
        .into_iter()
        .map(|name| {
            let inbox = Mailbox::<str>::options().domain(place.domain()).bounded(2).own(&name);
            (name.clone(), inbox.unwrap_or_else(|error| panic!("{name:?} is a name, but {error}")))
        })
        .collect();
    for (name, _) in &boxes {
        Sender::<str>::options()
            .domain(place.domain())
            .open(name)
            .expect("it exists")
            .send(name)
            .expect("it lives");
    }
    for (name, inbox) in &boxes {
        assert_eq!(inbox.try_recv().as_ref(), Ok(name));
    }
    let mut listed: Vec<String> =
        place.domain().list().expect("our own").into_iter().map(|it| it.name).collect();
    let mut names = good_names();
    listed.sort();
    names.sort();
    assert_eq!(listed, names);
    drop(boxes);
    assert!(place.domain().list().expect("our own").is_empty());
}

/// A label or a member name is not a path; an absurd one is refused or kept, never a panic.
#[test]
fn odd_labels_and_members() {
    let place = Place::new();
    for odd in ["", " ", "../x", "ä", "a\0b", &"long ".repeat(10), &"x".repeat(255), &"x".repeat(10_000)] {
        let owned = Mailbox::<[u8]>::options().domain(place.domain()).format(odd).own("box");
        if let Ok(inbox) = &owned {
            let same = Sender::<[u8]>::options().domain(place.domain()).format(odd).open("box");
            same.expect("the same label").send(b"x").expect("it lives");
            assert_eq!(inbox.stat().expect("it lives").format, odd);
        }
        drop(owned);
        let owned = Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
        if let Ok(out) = Sender::<u64>::options().domain(place.domain()).member(odd).open("box") {
            out.send(1).expect("it lives");
            let said = owned.recv_envelope().expect("it was sent").sender.name;
            assert!(odd.starts_with(&said), "{odd:?} became {said:?}");
        }
    }
}
