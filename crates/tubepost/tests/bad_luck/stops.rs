//! A process that stands still in the middle of a call, wherever that is: it is walked there one instruction at
//! a time and left standing, for others a process that was stopped. They go on as if it lived, which it does:
//! deadlines hold, nothing is taken away from it; and when it goes on, nothing is doubled or lost.

use std::time::{Duration, Instant};

use tubepost::{Domain, Envelope, Error, Mailbox, Receiver, Sender};

use crate::citizen::{kind, pattern};
use crate::stage::{
    Child, Cue, Dice, Place, Role, Walk, go_on_from_there, kill_there, mark, skip, thread_id, walk,
};

pub const ROLES: &[Role] = &[("stopper", stopper)];

const PLACES: u64 = 4;
/// What waits in vain waits so long …
const SHORT: Duration = Duration::from_millis(10);
/// … and nothing may take longer than that and this.
const SLACK: Duration = Duration::from_secs(2);
/// How often it is walked after two times all the way, for what only the first call does is no part of it:
/// to find out where the call comes to its effect; just before that; and anywhere.
struct Walks {
    bisections: u64,
    before_effect: u64,
    all_over: u64,
}

const SHORT_CALLS: Walks = Walks { bisections: 12, before_effect: 12, all_over: 8 };
/// Twenty thousand instructions, of which each takes 40 µs to step over.
const LONG_CALLS: Walks = Walks { bisections: 0, before_effect: 0, all_over: 5 };
const ROUNDS: u64 = 2 + 12 + 12 + 8;
/// A long message of the stopper's, and one of the others'.
const ITS: usize = 700;
const OURS: usize = 900;

/// What came of a call: a message and whether it was delivered before, or nothing to speak of.
type Came = Result<Option<(Vec<u8>, bool)>, Error>;

/// Makes one call after another, each between two marks; the arguments are the domain and the call.
fn stopper(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let call = cue.arg(1).to_owned();
    let walked = |act: &mut dyn FnMut() -> Came| {
        cue.say(thread_id());
        assert_eq!(cue.hear(), "go");
        mark();
        let came = act();
        mark();
        cue.say(match came {
            Ok(Some((message, again))) => spell(&message) + if again { " again" } else { "" },
            Ok(None) => "ok".into(),
            Err(error) => kind(&error),
        });
    };
    let sender = || Sender::<[u8]>::options().domain(&domain).open("box");
    if ["create", "remove", "open"].contains(&&*call) {
        while cue.hear() == "next" {
            walked(&mut || match &*call {
                "create" => small(&domain).create("box").map(|_| None),
                "remove" => domain.remove("box").map(|_| None),
                _ => sender().map(|_| None),
            });
        }
        return;
    }
    let inbox = if call.starts_with("own") {
        let inbox = small(&domain).own("box").expect("a free name");
        cue.say("own");
        inbox
    } else {
        Receiver::<[u8]>::options().domain(&domain).open("box").expect("it exists")
    };
    let out = sender().expect("it exists");
    let (short, long) = (b"its", pattern(ITS));
    let mut hand = Vec::new();
    while cue.hear() == "next" {
        if call == "accept" || call == "give-back" {
            hand.push(inbox.take_timeout(SLACK).expect("a message"));
            cue.say("taken");
            cue.hear();
        }
        walked(&mut || match &*call {
            "send" => Ok(out.try_send(short).map(|()| None)?),
            "send-long" => Ok(out.try_send(&long).map(|()| None)?),
            "recv" | "own-recv" => Ok(inbox.try_recv().map(|it| Some((it, false)))?),
            "take" | "own-take" => {
                let delivery = inbox.try_take()?;
                let came = (delivery.to_vec(), delivery.redelivered() > 0);
                hand.push(delivery);
                Ok(Some(came))
            }
            "accept" => hand.remove(0).accept().map(|()| None),
            "give-back" => {
                hand.clear();
                Ok(None)
            }
            other => panic!("what is {other}?"),
        });
        hand.drain(..).for_each(|it| it.accept().expect("it is ours, however long we stood still"));
        if call.starts_with("own") {
            cue.hear();
            cue.say(inbox.try_iter().map(|it| spell(&it)).collect::<Vec<_>>().join(" "));
        }
    }
}

fn small(domain: &Domain) -> tubepost::Options<[u8]> {
    Mailbox::options().domain(domain).bounded(PLACES)
}

/// Short messages are words; a long one is its length, if it is whole.
fn spell(bytes: &[u8]) -> String {
    if bytes.len() < 10 {
        return String::from_utf8(bytes.to_vec()).expect("a word");
    }
    assert!(bytes == pattern(bytes.len()), "a torn message");
    bytes.len().to_string()
}

/// Walks a stopper into its call again and again. `during` acts while it stands, `after` when it has gone
/// on and said what came of it. `during` says whether the call had come to its effect by then, so that some of the walks end
/// just before that.
fn stops<T>(
    place: &Place,
    walks: &Walks,
    call: &str,
    mut before: impl FnMut(&mut Child),
    mut during: impl FnMut() -> (bool, T),
    mut after: impl FnMut(&mut Child, String, T),
) {
    let Walks { bisections, before_effect, all_over } = *walks;
    let mut child = Child::start("stopper", &[&place.arg(), call]);
    if call.starts_with("own") {
        child.expect("own");
    }
    let mut dice = Dice::new(call.len() as u64);
    let (mut whole, mut stood) = (u64::MAX, 0);
    let (mut not_yet, mut done) = (0_u64, u64::MAX);
    for round in 0..2 + bisections + before_effect + all_over {
        let steps = match round {
            0 | 1 => u64::MAX,
            _ if round < 2 + bisections => not_yet.midpoint(done.min(whole)),
            _ if round < 2 + bisections + before_effect => not_yet.saturating_sub(dice.below(40)),
            _ => dice.below(whole),
        };
        child.say("next");
        before(&mut child);
        let thread = child.hear().parse().expect("a thread");
        match walk(&mut child, thread, steps) {
            Err(why) => return skip(call, &why),
            Ok(Walk::Through(steps)) => {
                whole = steps;
                let came = child.hear();
                let (_, seen) = during();
                after(&mut child, came, seen);
            }
            Ok(Walk::Stands) => {
                stood += 1;
                let (effect, seen) = during();
                if round < 2 + bisections {
                    (not_yet, done) = if effect { (not_yet, steps) } else { (steps, done) };
                }
                go_on_from_there(thread);
                let came = child.hear();
                after(&mut child, came, seen);
            }
        }
    }
    println!("{call}: stood still {stood} times in {whole} instructions, its effect after {not_yet}");
    assert!(stood > (bisections + before_effect + all_over) / 2, "it stood still only {stood} times");
    child.finish();
}

/// What others do meanwhile that must not matter: look, sweep, come and go, so that rows are used again.
fn bustle(place: &Place) {
    let domain = place.domain();
    for _ in 0..3 {
        let out = Sender::<[u8]>::options().domain(domain).open("box").expect("it exists");
        drop((out.stat().expect("it is there"), out));
        domain.gc().expect("our own");
    }
    domain.list().expect("our own");
}

fn timely<R>(act: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let done = act();
    assert!(begin.elapsed() < SHORT + SLACK, "{:?}", begin.elapsed());
    done
}

/// All that can be had now, and what waits in vain does so in time.
fn drain(inbox: &Receiver<[u8]>) -> Vec<String> {
    let word = |it: Envelope<[u8]>| {
        format!("{}{}", spell(&it.message), if it.redelivered > 0 { " again" } else { "" })
    };
    let next = || timely(|| inbox.recv_envelope_timeout(SHORT));
    std::iter::from_fn(|| next().ok().map(word)).collect()
}

fn ends(place: &Place) -> (Sender<[u8]>, Receiver<[u8]>) {
    small(place.domain()).create("box").expect("a free name");
    (open_sender(place), open_receiver(place))
}

#[test]
fn a_sender_stands_still() {
    for call in ["send", "send-long"] {
        let place = Place::new();
        let (out, inbox) = ends(&place);
        let its = if call == "send" { "its".to_string() } else { ITS.to_string() };
        let (ours, long) = (OURS.to_string(), pattern(OURS));
        stops(
            &place,
            &SHORT_CALLS,
            call,
            |_| (),
            || {
                timely(|| out.send_timeout(b"ours", SHORT)).expect("room behind it");
                timely(|| out.send_timeout(&long, SHORT)).expect("room behind it");
                bustle(&place);
                let got = drain(&inbox);
                bustle(&place);
                (got.contains(&its), got)
            },
            |_, came, mut got| {
                assert_eq!(came, "ok");
                got.extend(drain(&inbox));
                let mut rest = got.clone();
                rest.retain(|it| *it != its);
                assert_eq!(rest, ["ours", &*ours], "{got:?}");
                assert_eq!(got.len(), 3, "its own once: {got:?}");
            },
        );
        let stat = place.domain().stat("box").expect("it is there");
        assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, 3 * ROUNDS));
    }
}

#[test]
fn a_receiver_stands_still() {
    for call in ["recv", "take"] {
        for long in [false, true] {
            let place = Place::new();
            let (out, inbox) = ends(&place);
            let length = OURS.to_string();
            let expected = if long { [&*length, "b", "c", "d"] } else { [&*length, "a", "b", "d"] };
            stops(
                &place,
                &SHORT_CALLS,
                call,
                |_| {
                    let first = if long { pattern(OURS) } else { b"a".to_vec() };
                    let third = if long { b"c".to_vec() } else { pattern(OURS) };
                    [&first[..], b"b", &third].iter().for_each(|it| out.try_send(it).expect("a free place"));
                },
                || {
                    bustle(&place);
                    let mut got = drain(&inbox);
                    let effect = got.len() < 3;
                    timely(|| out.send_timeout(b"d", SHORT)).expect("at most one place is taken");
                    bustle(&place);
                    got.extend(drain(&inbox));
                    (effect, got)
                },
                |_, came, mut got| {
                    if came != "WouldWait" {
                        got.push(came);
                    }
                    got.extend(drain(&inbox));
                    got.sort();
                    assert_eq!(got, expected, "each once, none again");
                },
            );
            let stat = place.domain().stat("box").expect("it is there");
            assert_eq!((stat.depth, stat.held, stat.received), (0, 0, 4 * ROUNDS));
        }
    }
}

#[test]
fn one_with_a_message_in_hand_stands_still() {
    for call in ["accept", "give-back"] {
        for long in [false, true] {
            let place = Place::new();
            let (out, inbox) = ends(&place);
            let sent = if long { pattern(ITS) } else { b"its".to_vec() };
            let again = format!("{} again", spell(&sent));
            stops(
                &place,
                &SHORT_CALLS,
                call,
                |child| {
                    out.try_send(&sent).expect("a free place");
                    child.expect("taken");
                    child.say("on");
                },
                || {
                    bustle(&place);
                    let mut got = drain(&inbox);
                    for _ in 0..3 {
                        (0..PLACES).for_each(|_| out.try_send(b"x").expect("all places are free"));
                        let round = drain(&inbox);
                        got.extend(round.iter().filter(|it| *it != "x").cloned());
                        assert_eq!(round.iter().filter(|it| *it == "x").count() as u64, PLACES);
                    }
                    let effect = place.domain().stat("box").expect("it is there").held == 0;
                    (effect, got)
                },
                |_, came, mut got| {
                    assert_eq!(came, "ok");
                    got.extend(drain(&inbox));
                    assert_eq!(got, if call == "accept" { vec![] } else { vec![again.clone()] });
                },
            );
            let stat = place.domain().stat("box").expect("it is there");
            assert_eq!((stat.depth, stat.held, stat.received), (0, 0, ROUNDS + ROUNDS * 3 * PLACES));
        }
    }
}

#[test]
fn an_owner_stands_still() {
    for call in ["own-recv", "own-take"] {
        let place = Place::new();
        // The owner is there before its senders: it opens in the first round.
        let open = || Sender::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
        let out = std::cell::OnceCell::new();
        let length = OURS.to_string();
        stops(
            &place,
            &SHORT_CALLS,
            call,
            |_| {
                let out = out.get_or_init(open);
                out.try_send(&pattern(OURS)).expect("a free place");
                out.try_send(b"b").expect("a free place");
            },
            || {
                let out = out.get().expect("opened");
                bustle(&place);
                let mut sent = vec![length.clone(), "b".into()];
                while timely(|| out.send_timeout(b"c", SHORT)).is_ok() {
                    sent.push("c".into());
                    assert!(sent.len() as u64 <= PLACES + 1, "more than there is room for");
                }
                assert!(sent.len() as u64 >= PLACES);
                let taken = small(place.domain()).own("box").map(|_| ());
                assert!(matches!(taken, Err(Error::Owned { .. })), "{taken:?}");
                assert!(matches!(place.domain().remove("box"), Err(Error::Owned { .. })));
                bustle(&place);
                (sent.len() as u64 > PLACES, sent)
            },
            |child, came, sent| {
                child.say("drain");
                let rest = child.hear();
                let got: Vec<&str> = std::iter::once(&*came).chain(rest.split_whitespace()).collect();
                assert_eq!(got, sent, "in order, each once");
            },
        );
    }
}

/// Stopped while it makes, opens or removes: others are told in time that it is there, not there, or that
/// somebody is busy with it; and it ends well.
#[test]
fn one_that_comes_or_ends_it_stands_still() {
    for call in ["create", "open", "remove"] {
        let place = Place::new();
        let domain = place.domain();
        let known = |result: Result<(), Error>| match result {
            Ok(()) => "ok".to_string(),
            Err(error) => {
                let kind = kind(&error);
                assert!(["Exists", "NoSuchName", "Busy", "Closed"].contains(&&*kind), "{error:?}");
                kind
            }
        };
        let patient = |act: &dyn Fn() -> Result<(), Error>| timely(|| known(act()));
        let exists = || domain.stat("box").is_ok();
        stops(
            &place,
            &LONG_CALLS,
            call,
            |_| {
                match call {
                    "create" => drop(domain.remove("box")),
                    _ => drop(small(domain).create("box")),
                };
                assert_eq!(exists(), call != "create");
            },
            || {
                let effect = match call {
                    "create" => exists(),
                    "remove" => !exists(),
                    _ => false,
                };
                for _ in 0..2 {
                    patient(&|| domain.gc().map(|_| ()));
                    patient(&|| domain.list().map(|_| ()));
                    patient(&|| {
                        let out = Sender::<[u8]>::options().domain(domain).open("box")?;
                        let inbox = Receiver::<[u8]>::options().domain(domain).open("box")?;
                        out.try_send(b"x").map_err(Error::from)?;
                        assert_eq!(inbox.try_recv().map_err(Error::from)?, b"x");
                        Ok(())
                    });
                    if call != "open" {
                        patient(&|| small(domain).create("box").map(|_| ()));
                    }
                }
                (effect, ())
            },
            |_, came, ()| {
                assert!(["ok", "Exists", "NoSuchName", "Busy"].contains(&&*came), "{came}");
                // Nothing is half there: it can be made, used and removed.
                drop(domain.remove("box"));
                let (out, inbox) = ends(&place);
                (0..PLACES).for_each(|_| out.try_send(b"x").expect("all places are free"));
                assert_eq!(drain(&inbox).len() as u64, PLACES);
                assert_eq!(domain.remove("box").expect("ours").uncollected, 0);
                assert!(place.files().is_empty(), "{:?}", place.files());
            },
        );
    }
}

/// Dead between taking a message and freeing its place, which is the only one, so that nothing else can come: who
/// waits for the next message gets that one again, however long it is ready to wait.
#[test]
fn a_receiver_dies_with_the_whole_queue_in_hand() {
    const KILLS: u32 = 22;
    let (mut whole, mut not_yet, mut done, mut again) = (u64::MAX, 0_u64, u64::MAX, 0);
    for kill in 0..KILLS {
        let place = Place::new();
        let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(1);
        options.create("box").expect("a free name");
        let (out, inbox) = (open_sender(&place), open_receiver(&place));
        let mut child = Child::start("stopper", &[&place.arg(), "recv"]);
        let walked = |child: &mut Child, steps| {
            out.try_send(b"its").expect("a free place");
            child.say("next");
            let thread = child.hear().parse().expect("a thread");
            (thread, walk(child, thread, steps))
        };
        match walked(&mut child, u64::MAX) {
            (_, Err(why)) => return skip("a_receiver_dies_with_the_whole_queue_in_hand", &why),
            _ => child.expect("its"),
        }
        if whole == u64::MAX {
            match walked(&mut child, u64::MAX).1 {
                Ok(Walk::Through(steps)) => whole = steps,
                other => panic!("{other:?}"),
            }
            continue;
        }
        let steps =
            if done - not_yet > 1 { not_yet.midpoint(done.min(whole)) } else { done + u64::from(kill % 8) };
        let (thread, stood) = walked(&mut child, steps);
        assert_eq!(stood, Ok(Walk::Stands));
        let stat = place.domain().stat("box").expect("it is there");
        let begin = Instant::now();
        kill_there(&mut child, thread);
        if (stat.depth, stat.held) == (0, 0) {
            done = done.min(steps); // consumed
            continue;
        }
        let got = inbox.recv_envelope_timeout(Duration::from_secs(20)).expect("it is not lost");
        assert!(begin.elapsed() < Duration::from_millis(2500), "only after {:?}", begin.elapsed());
        assert_eq!(got.message, b"its");
        if got.redelivered == 0 {
            not_yet = not_yet.max(steps);
        } else {
            done = done.min(steps);
            again += 1;
        }
        (0..3).for_each(|_| {
            out.try_send(b"x").expect("the place is free");
            assert_eq!(inbox.try_recv().as_deref(), Ok(&b"x"[..]));
        });
    }
    println!("taken after {not_yet} of {whole} instructions, {again} of {KILLS} came again");
    assert!(again > 4, "{again} of {KILLS} were killed with the message");
}

fn open_sender(place: &Place) -> Sender<[u8]> {
    Sender::options().domain(place.domain()).open("box").expect("it exists")
}

fn open_receiver(place: &Place) -> Receiver<[u8]> {
    Receiver::options().domain(place.domain()).open("box").expect("it exists")
}
