//! Links where things go wrong: other users, a fork, very many of them, and a storm of kills among processes that all
//! have links with each other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tubepost::{
    Domain, End, Error, Inbox, Link, Process, RecvError, RecvTimeoutError, SendError, Strategy, TryRecvError,
};

use crate::citizen::{dialogue, kind};
use crate::permissions::{ANN, BEN, Directory, EVE, GROUP, NO_GROUP, users};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, become_member, descriptors, fork, wait_for};

pub const ROLES: &[Role] = &[
    ("companion", companion),
    ("forked-companion", forked),
    ("hub", hub),
    ("crowd", crowd),
    ("storm", storm),
];

/// Somebody has the directory's lock, as a gc has for a moment, for longer than one waits for that: who connects has more time.
#[test]
fn who_connects_outwaits_who_is_busy() {
    let place = Place::new();
    let join = |name| Process::options().domain(place.domain()).join(name).expect("a free name");
    let (ann, _ben) = (join("ann"), join("ben"));
    let options = Link::<u64>::options().strategy(Strategy::Kernel);
    let directory = std::fs::File::open(place.path()).expect("ours");
    directory.lock().expect("nobody else has it");
    assert!(matches!(options.open(&ann, "ben"), Err(Error::Busy { .. })), "it is meant to be in the way");
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| options.connect(&ann, "ben", PATIENCE));
        std::thread::sleep(Duration::from_millis(500)); // longer than an open waits
        directory.unlock().expect("ours");
        connecting.join().expect("no panic").expect("it has time enough");
    });
    directory.lock().expect("nobody else has it");
    let begin = Instant::now();
    let cara = join("cara");
    let late = options.connect(&cara, "ben", Duration::from_millis(300));
    assert!(matches!(late, Err(Error::Busy { .. })), "{late:?}");
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

/// Becomes a user, joins and does what it is told; the arguments are domain, name, user, group, mode.
fn companion(cue: &mut Cue) {
    become_member(cue.number(2) as u32, cue.number(3) as u32);
    let mode = u32::from_str_radix(cue.arg(4), 8).expect("a mode");
    let joined =
        Domain::open(cue.arg(0)).and_then(|it| Process::options().domain(&it).mode(mode).join(cue.arg(1)));
    let me = match joined {
        Ok(me) => me,
        Err(error) => return cue.say(kind(&error)),
    };
    cue.say("joined");
    let mut link: Option<Link<u64>> = None;
    let said = |done: Result<(), Error>| done.map_or_else(|error| kind(&error), |()| "ok".into());
    loop {
        let line = cue.hear();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["link", peer] => {
                let opened = me.link(peer);
                cue.say(said(opened.as_ref().map(drop).map_err(Clone::clone)));
                link = opened.ok();
            }
            ["send", number] => {
                let sent = link.as_ref().expect("linked").send(number.parse().expect("a number"));
                cue.say(said(sent.map_err(Error::from)));
            }
            ["recv"] => match link.as_ref().expect("linked").recv_timeout(PATIENCE) {
                Ok(number) => cue.say(format!("ok {number}")),
                Err(error) => cue.say(kind(&error.into())),
            },
            _ => panic!("a companion does not know {line:?}"),
        }
    }
}

#[test]
fn a_mode_says_whose_processes_may_have_links() {
    if !users("a_mode_says_whose_processes_may_have_links") {
        return;
    }
    let domain = Directory::shared();
    let start = |name: &str, user: u32, group: u32, mode: &str| {
        let path = domain.path().to_str().expect("our own path");
        Child::start("companion", &[path, name, &user.to_string(), &group.to_string(), mode])
    };
    let (mut ann, mut ben) = (start("ann", ANN, GROUP, "660"), start("ben", BEN, GROUP, "660"));
    let mut shut = start("shut", BEN, GROUP, "600");
    for it in [&mut ann, &mut ben, &mut shut] {
        it.expect("joined");
    }
    start("eve", EVE, NO_GROUP, "660").expect("Denied");
    dialogue(&mut ann, &[("link ben", "ok"), ("send 7", "ok")]);
    dialogue(&mut ben, &[("link ann", "ok"), ("recv", "ok 7"), ("send 8", "ok")]);
    dialogue(&mut ann, &[("recv", "ok 8")]);
    // Who lets nobody in has no link with another user, whoever begins.
    let mut other = start("other", ANN, GROUP, "660");
    other.expect("joined");
    dialogue(&mut other, &[("link shut", "Denied")]);
    shut.say("link other");
    shut.hear(); // what it made is its own
    dialogue(&mut other, &[("link shut", "Denied")]);
    // The death of another user's process is told, and its name is that one's again.
    dialogue(&mut ben, &[("send 9", "ok")]);
    ben.kill();
    dialogue(&mut ann, &[("recv", "ok 9"), ("recv", "Closed")]);
    let mut again = start("ben", BEN, GROUP, "660");
    again.expect("joined");
    dialogue(&mut ann, &[("link ben", "ok"), ("send 10", "ok")]);
    dialogue(&mut again, &[("link ann", "ok"), ("recv", "ok 10")]);
}

fn join(domain: &Domain, name: &str) -> Process {
    Process::options().domain(domain).join(name).expect("a free name")
}

/// Has a link and an inbox, and forks.
fn forked(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let (me, other) = (join(&domain, "parent"), join(&domain, "other"));
    let link = me.link::<u64>("other").expect("it is there");
    let theirs = other.link::<u64>("parent").expect("it is there");
    let inbox: Inbox<u64> = me.inbox().expect("numbers need no label");
    theirs.send(1).expect("there is room");
    let (my, my_link, my_inbox, its_domain) = (me.clone(), link.clone(), inbox.clone(), domain.clone());
    let child = fork(move || {
        assert_eq!(my_link.send(2), Err(SendError::Failed(2, Error::Forked)));
        assert_eq!(my_link.recv(), Err(RecvError::Failed(Error::Forked)));
        assert_eq!(my_link.try_recv(), Err(TryRecvError::Failed(Error::Forked)));
        assert!(matches!(my_inbox.try_recv(), Err(TryRecvError::Failed(Error::Forked))));
        assert!(matches!(my_inbox.recv_timeout(PATIENCE), Err(RecvTimeoutError::Failed(Error::Forked))));
        assert!(matches!(my.link::<u64>("other"), Err(Error::Forked)));
        assert!(matches!(my.inbox::<u64>(), Err(Error::Forked)));
        assert!(matches!(my.monitor("other"), Err(Error::Forked)));
        let _ = (my.name(), my_link.peer(), my_link.peer_has_left());
        my.leave();
        drop((my, my_link, my_inbox));
        // It joins as itself, and its parent lives.
        let child = join(&its_domain, "child");
        child.link::<u64>("parent").expect("it lives").send(3).expect("there is room");
        let again = Process::options().domain(&its_domain).join("parent");
        assert!(matches!(again, Err(Error::Joined { .. })), "{again:?}");
    });
    assert!(wait_for(child), "the child's assertions");
    let mut got: Vec<u64> =
        (0..2).map(|_| inbox.recv_timeout(PATIENCE).expect("two were sent").message).collect();
    got.sort();
    assert_eq!(got, [1, 3]);
    link.send(4).expect("it lives");
    assert_eq!(theirs.recv_timeout(PATIENCE), Ok(4));
    assert!(!theirs.peer_has_left());
    cue.say("done");
}

#[test]
fn links_do_not_cross_a_fork() {
    let place = Place::new();
    let mut forked = Child::start("forked-companion", &[&place.arg()]);
    forked.expect("done");
    forked.finish();
}

/// How many links one process has.
const MANY: usize = 1000;

/// So many processes, in one, that have a link with the hub each.
fn crowd(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let all: Vec<_> = (0..MANY)
        .map(|at| {
            let me = join(&domain, &format!("one-{at}"));
            let link = Link::<u64>::options().bounded(2).open(&me, "hub").expect("it is there");
            link.send(at as u64).expect("there is room");
            (me, link)
        })
        .collect();
    cue.say("linked");
    let all_came = all.iter().all(|(_, link)| link.recv_timeout(PATIENCE).is_ok());
    cue.say(if all_came { "received" } else { "missed" });
    cue.hear();
}

/// Receives one from each, answers each, and says how many descriptors that took.
fn hub(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let me = join(&domain, "hub");
    let inbox: Inbox<u64> = me.inbox().expect("numbers need no label");
    cue.say("joined");
    let before = descriptors();
    for _ in 0..MANY {
        let envelope = inbox.recv_timeout(PATIENCE).expect("each sends one");
        me.link::<u64>(&envelope.sender.name)
            .expect("it lives")
            .send(envelope.message)
            .expect("there is room");
    }
    assert!(matches!(inbox.recv_timeout(Duration::from_millis(20)), Err(error) if error.is_timeout()));
    cue.say(descriptors() - before);
}

#[test]
fn a_thousand_links_take_few_descriptors() {
    let place = Place::new();
    let mut hub = Child::start("hub", &[&place.arg()]);
    hub.expect("joined");
    let mut crowd = Child::start("crowd", &[&place.arg()]);
    crowd.expect("linked");
    crowd.expect("received");
    let taken: usize = hub.hear().parse().expect("a number");
    println!("{taken} descriptors for {MANY} links");
    assert!(taken <= MANY / 2, "{taken} descriptors for {MANY} links");
}

/// How many processes there are in the storm, and for how long.
const ALL: usize = 8;
const LENGTH: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);

/// Which process of the storm that is.
fn called(at: usize) -> String {
    format!("s{at}")
}

/// Sends to all others at random, receives from all, and keeps accounts: of each life that sends here, and of each
/// life it sends to, by its process's number. The arguments are the domain, which one it is, and a seed.
fn storm(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let (own, mut dice) = (cue.number(1) as usize, Dice::new(cue.number(2)));
    let me = join(&domain, &called(own));
    let inbox: Inbox<[u8]> = me.inbox().expect("bytes need no label");
    let mut received: HashMap<u32, u32> = HashMap::new();
    let mut sent: HashMap<u32, (u32, Link<[u8]>)> = HashMap::new();
    let (say, ask) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
            let _ = say.send(std::mem::take(&mut line).trim().to_owned());
        }
        std::process::exit(0); // nobody is there any more
    });
    cue.say("joined");
    let mut sends = true;
    loop {
        match ask.try_recv().as_deref() {
            Ok("stop") => {
                sends = false;
                cue.say("stopped");
            }
            Ok("tell") => {
                let tell = |(way, life, count): (&str, &u32, u32)| format!("{way} {life} {count}");
                let there = sent.iter().map(|(life, (count, _))| tell(("to", life, *count)));
                let here = received.iter().map(|(life, count)| tell(("from", life, *count)));
                cue.say(there.chain(here).collect::<Vec<_>>().join(","));
            }
            _ => {}
        }
        let peer = dice.below(ALL as u64) as usize;
        if sends && peer != own {
            match me.link::<[u8]>(&called(peer)) {
                Ok(link) => {
                    let life = link.peer().pid;
                    let (count, _) = sent.entry(life).or_insert_with(|| (0, link.clone()));
                    let length = [8, 300, 5000][dice.below(3) as usize];
                    let mut message = vec![count.to_le_bytes()[0]; length];
                    message[..4].copy_from_slice(&std::process::id().to_le_bytes());
                    message[4..8].copy_from_slice(&count.to_le_bytes());
                    match link.try_send(&message) {
                        Ok(()) => *count += 1,
                        Err(error) if error.is_full() || error.is_closed() => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Err(Error::NoSuchName { .. } | Error::OwnerGone { .. } | Error::Busy { .. }) => {}
                Err(error) => panic!("the link with {peer}: {error:?}"),
            }
        }
        let wait = Duration::from_millis(if dice.below(10) == 0 { 2 } else { 0 });
        match inbox.recv_timeout(wait) {
            Ok(envelope) => {
                let word =
                    |at: usize| u32::from_le_bytes(envelope.message[at..at + 4].try_into().expect("four"));
                let (life, number) = (word(0), word(4));
                let torn = envelope.message[8..].iter().any(|byte| *byte != number.to_le_bytes()[0]);
                assert!(!torn && envelope.sender.pid == life, "a torn message, or a wrong sender: {life}");
                let next = received.entry(life).or_default();
                assert_eq!(number, *next, "lost, doubled or out of order, from {life}");
                *next += 1;
            }
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    }
}

/// Of every life it is told once that it is over; whoever lives has each message of each life once, in order, without
/// a gap; in the end as many as were accepted; and nothing is left.
#[test]
fn all_linked_with_all_in_a_storm() {
    let place = Place::new();
    let mut dice = Dice::new(11);
    let length = if std::env::var_os("TUBEPOST_TESTS_LONG").is_some() { LONG } else { LENGTH };
    let watcher = join(place.domain(), "watcher");
    let start = |at: usize, dice: &mut Dice| {
        let mut child = Child::start("storm", &[&place.arg(), &at.to_string(), &dice.roll().to_string()]);
        child.expect("joined");
        (child, watcher.monitor(&called(at)).expect("it lives"))
    };
    let mut all: Vec<_> = (0..ALL).map(|at| start(at, &mut dice)).collect();
    let (end, mut killed) = (Instant::now() + length, 0);
    while Instant::now() < end {
        // Waits for nothing: the next kill shall come at a random moment.
        std::thread::sleep(Duration::from_millis(dice.below(60)));
        let at = dice.below(ALL as u64) as usize;
        let (child, monitor) = &mut all[at];
        assert!(!child.is_dead(), "one ended by itself");
        assert_eq!(monitor.wait_timeout(Duration::ZERO), Ok(None), "it lives");
        child.kill();
        assert_eq!(monitor.wait_timeout(PATIENCE), Ok(Some(End::Died)));
        assert_eq!(monitor.wait_timeout(Duration::ZERO), Ok(None), "that was told");
        killed += 1;
        all[at] = start(at, &mut dice);
    }
    for (child, _) in &mut all {
        assert_eq!(child.ask("stop"), "stopped");
    }
    let lives: Vec<u32> = all.iter().map(|(child, _)| child.pid()).collect();
    // What was accepted between those who live is received, and no more than that.
    let mut messages = 0;
    crate::stage::eventually("all that was accepted is received", || {
        let mut accounts: HashMap<(u32, u32), [u32; 2]> = HashMap::new();
        for (at, (child, _)) in all.iter_mut().enumerate() {
            let told = child.ask("tell");
            for entry in told.split(',').filter(|entry| !entry.is_empty()) {
                let words: Vec<&str> = entry.split(' ').collect();
                let [way, life, count] = words[..] else { panic!("{entry}") };
                let (life, count) = (life.parse().expect("a number"), count.parse().expect("a number"));
                match way {
                    "to" => accounts.entry((lives[at], life)).or_default()[0] = count,
                    _ => accounts.entry((life, lives[at])).or_default()[1] = count,
                }
            }
        }
        let between = |((from, to), _): &(&(u32, u32), &[u32; 2])| lives.contains(from) && lives.contains(to);
        let between: Vec<_> = accounts.iter().filter(between).collect();
        messages = between.iter().map(|(_, [sent, _])| *sent).sum();
        assert!(between.iter().all(|(_, [sent, received])| received <= sent), "{between:?}");
        between.iter().all(|(_, [sent, received])| received == sent)
    });
    println!("{killed} killed; in the end {messages} messages between those who lived");
    assert!(killed > 20 && messages > 0);
    drop(all);
    drop(watcher);
    let swept = place.domain().gc().expect("our own");
    assert!(swept.left_alone.is_empty(), "{swept:?}");
    assert_eq!(place.files(), [""; 0]);
}
