//! What others export is found out, whatever is said of it, lost, or comes and goes meanwhile.

use crate::address::{Address, Place};
use crate::catalog::{Entry, News, Piece};
use crate::facts::Facts;
use crate::stage::{Host, PATIENCE, config, endpoint, eventually, inbox_of, two_hosts};
use crate::strangers::session;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tubepost::{Mailbox, Sender};
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::CongestionControl;

/// What is said of a mailbox of numbers here.
pub fn facts(host: &Host) -> Facts {
    let _inbox =
        Mailbox::<u64>::options().domain(&host.domain).bounded(4).own("for-its-facts").expect("made");
    Facts::of(&host.domain.stat("for-its-facts").expect("it is there")).expect("it can be exported")
}

pub fn entry(name: &str, mailbox: u128, facts: &Facts) -> Entry {
    Entry { mailbox, name: name.into(), facts: facts.clone() }
}

pub fn encoded(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| postcard::to_allocvec(entry).expect("it can be encoded")).collect()
}

/// A bridge that is played: it answers to questions for its catalog with what it is told to, one after the other, the last one again and again.
pub struct Played {
    session: zenoh::Session,
    pub at: Address,
    pub asked: Arc<AtomicUsize>,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
    token: Option<LivelinessToken>,
}

impl Played {
    pub fn new(connect: &str, number: u128, answers: &[Vec<u8>]) -> Played {
        let session = session(connect);
        let at = Address { prefix: String::new(), host: "played".into(), bridge: number, run: 1 };
        let (asked, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(answers.to_vec())));
        let (count, says, key) = (Arc::clone(&asked), Arc::clone(&answers), at.key(Place::Catalog));
        let catalog = session.declare_queryable(key.clone()).callback(move |query| {
            count.fetch_add(1, Relaxed);
            let mut says = says.lock().expect("no panic");
            let answer = if says.len() > 1 { says.remove(0) } else { says[0].clone() };
            // Nothing is no answer.
            if !answer.is_empty() {
                query.reply(key.clone(), answer).wait().expect("who asked is there");
            }
        });
        catalog.background().wait().expect("anybody may");
        let mut played = Played { session, at, asked, answers, token: None };
        played.token(true);
        played
    }

    pub fn token(&mut self, there: bool) {
        let token = || self.session.liveliness().declare_token(self.at.key(Place::Exports)).wait();
        self.token = there.then(|| token().expect("anybody may"));
    }

    pub fn answers(&self, answers: &[Vec<u8>]) {
        *self.answers.lock().expect("no panic") = answers.to_vec();
    }

    pub fn says(&self, news: &[u8]) {
        let put = self.session.put(self.at.key(Place::News), news);
        put.congestion_control(CongestionControl::Block).wait().expect("anybody may");
    }
}

pub fn piece(newest: u64, more: Option<u128>, entries: &[Entry]) -> Vec<u8> {
    let entries = encoded(entries);
    Piece { newest, more, entries: entries.iter().map(Vec::as_slice).collect() }.encode()
}

pub fn news(before: u64, newest: u64, went: &[u128], came: &[Entry]) -> Vec<u8> {
    let came = encoded(came);
    News { before, newest, went: went.to_vec(), came: came.iter().map(Vec::as_slice).collect() }.encode()
}

#[test]
fn who_misses_news_or_has_half_a_catalog_asks_again_and_nobody_asks_otherwise() {
    let (at, lease) = (endpoint(), Duration::from_millis(500));
    let config = config(lease);
    let here = Host::new(&["--zenoh-config", config.path(), "--listen", &at, "--import", "*"]);
    let facts = facts(&here);
    let [a, b, c, d, e] =
        ["a", "b", "c", "d", "e"].map(|name| entry(name, name.as_bytes()[0].into(), &facts));
    let gone = |name: &str| eventually("it is gone", || here.domain.stat(name).is_err());

    // A catalog in two pieces, of which the second does not come, and then one that does not fit; then it does.
    let first = piece(5, Some(a.mailbox), std::slice::from_ref(&a));
    let backwards = piece(5, Some(a.mailbox), std::slice::from_ref(&d));
    let last = piece(5, None, std::slice::from_ref(&b));
    let mut there = Played::new(
        &at,
        7,
        &[first.clone(), Vec::new(), first.clone(), backwards, first, last.clone(), b"rubbish".to_vec()],
    );
    here.until_there("a");
    here.until_there("b");
    assert_eq!(there.asked.load(Relaxed), 6);
    assert!(here.domain.stat("d").is_err(), "it was in a catalog without an end");

    // News are heard; those that are known change nothing; what they say of several changes they say of the end.
    there.says(&news(3, 5, &[a.mailbox], &[]));
    there.says(&news(4, 7, &[b.mailbox], std::slice::from_ref(&c)));
    here.until_there("c");
    gone("b"); // after the lease
    assert!(here.domain.stat("a").is_ok());
    assert_eq!(there.asked.load(Relaxed), 6, "nothing was missing");

    // Some are missing.
    there.answers(&[piece(9, None, &[c.clone(), d.clone()])]);
    there.says(&news(8, 9, &[], &[]));
    here.until_there("d");
    gone("a"); // it is in the catalog no longer
    assert_eq!((there.asked.load(Relaxed), here.domain.stat("c").is_ok()), (7, true));

    // The token goes, and comes again.
    there.token(false);
    gone("c");
    gone("d");
    there.answers(&[piece(9, None, &[d.clone(), e.clone()])]);
    there.token(true);
    here.until_there("d");
    here.until_there("e");
    assert_eq!(there.asked.load(Relaxed), 8);
    assert!(here.domain.stat("c").is_err());
}

#[test]
fn of_thousands_of_mailboxes_who_joins_has_those_that_it_wants_soon() {
    const ALL: usize = 3000;
    let at = endpoint();
    let there = Host::new(&["--listen", &at, "--export", "many/*"]);
    for number in 0..ALL {
        let options = Mailbox::<u64>::options().domain(&there.domain).bounded(1);
        options.create(&format!("many/{number}")).expect("a free name");
    }
    eventually("all are exported", || there.log().matches("is exported").count() == ALL);
    let joins = |patterns: &[&str]| {
        let begin = Instant::now();
        let args = [&["--connect", &at][..], patterns].concat();
        let here = Host::new(&args);
        eventually("all 111 are there", || {
            let all = here.domain.list().expect("it can be read");
            all.iter().filter(|listed| listed.name.starts_with("many/")).count() == 111
        });
        println!("they are there after {:?}", begin.elapsed());
        assert!(begin.elapsed() < PATIENCE / 6, "{:?}", begin.elapsed());
        here
    };
    // Only what is meant is told.
    let here = joins(&["--import", "many/29*"]);
    assert!(here.log().contains("111 mailboxes of"), "{}", here.log());
    assert!(here.log().contains("came in pieces: 1"), "{}", here.log());
    // These are too long to ask with: all of it comes, in pieces.
    let long = ["x".repeat(255), "y".repeat(255), "z".repeat(255), "u".repeat(255), "v".repeat(255)];
    let mut patterns: Vec<&str> = long.iter().flat_map(|pattern| ["--import", pattern]).collect();
    patterns.extend(["--import", "many/29*"]);
    let whole = joins(&patterns);
    let log = whole.log();
    assert!(log.contains("111 mailboxes of") && !log.contains("pieces: 1\n"), "{log}");
    let out = Sender::<u64>::options().domain(&whole.domain).open("many/2999").expect("it is there");
    out.send(7).expect("there is room");
    eventually("it came", || there.domain.stat("many/2999").is_ok_and(|stat| stat.depth == 1));
}

#[test]
fn what_comes_and_goes_fast_is_in_the_end_as_it_is() {
    let (there, here) = two_hosts();
    let own = || Mailbox::<u64>::options().domain(&there.domain).bounded(4).own("box");
    for _ in 0..500 {
        drop(own().expect("the name is free"));
    }
    let inbox = own().expect("the name is free");
    let mut k = 0;
    eventually("the last one is there", || {
        k += 1;
        let out = Sender::<u64>::options().domain(&here.domain).open("box");
        // An earlier one's stand-in may still be there, or be closed just now.
        out.is_ok_and(|out| out.try_send(k).is_ok()) && inbox.recv_timeout(Duration::from_millis(50)).is_ok()
    });
    let out = Sender::<u64>::options().domain(&here.domain).open("box").expect("it is there");
    drop(inbox);
    assert!(out.closed_timeout(PATIENCE).expect("it can be told").is_some());
    eventually("it is gone", || here.domain.stat("box").is_err());
}

#[test]
fn hosts_that_all_connect_to_a_router_find_each_other() {
    let at = endpoint();
    let path =
        |name: &str| std::env::temp_dir().join(format!("tubepost-star-{}-{name}.json5", std::process::id()));
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).expect("a file in the temporary directory");
        path(name).to_str().expect("a path of ours").to_owned()
    };
    let nobody = "listen: { endpoints: [] }, scouting: { multicast: { enabled: false } }";
    let router = write("router", &format!("{{ mode: \"router\", {nobody} }}"));
    let client = write("client", &format!("{{ mode: \"client\", {nobody} }}"));
    let router = Host::new(&["--zenoh-config", &router, "--listen", &at, "--export", "of-the-router"]);
    inbox_of(&router); // without one a client ends
    let hosts = ["one/", "two/", "three/"].map(|prefix| {
        let star = ["--zenoh-config", &client, "--connect", &at];
        Host::new(&[&star[..], &["--as", prefix, "--export", "box", "--import", "*/box"]].concat())
    });
    let inboxes =
        hosts.each_ref().map(|host| Mailbox::<u64>::options().domain(&host.domain).own("box").expect("made"));
    for (at, host) in hosts.iter().enumerate() {
        for (to, prefix) in ["one", "two", "three"].iter().enumerate().filter(|(to, _)| *to != at) {
            host.until_there(&format!("{prefix}/box"));
            let out = Sender::<u64>::options().domain(&host.domain).open(&format!("{prefix}/box"));
            out.expect("it is there").send(at as u64).expect("there is room");
            assert_eq!(inboxes[to].recv_timeout(PATIENCE), Ok(at as u64));
        }
    }
    ["router", "client"].iter().for_each(|name| std::fs::remove_file(path(name)).expect("ours"));
}
