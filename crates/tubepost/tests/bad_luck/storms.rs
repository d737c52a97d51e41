//! One name, many processes that make, own, use, remove and sweep it in no order, and are killed at random. No
//! call hangs or panics, an owner has its name as long as it lives, and sweeping leaves nothing of the dead.

use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Mailbox, Receiver, Sender};

use crate::citizen::{kind, pattern};
use crate::stage::{Child, Cue, Dice, Place, Role};

pub const ROLES: &[Role] = &[("rioter", rioter)];

const RIOTERS: usize = 12;
const LENGTH: Duration = Duration::from_secs(4);
const NAMES: [&str; 2] = ["box", "other/box"];
const PLACES: u64 = 8;
const SHORT: Duration = Duration::from_millis(2);

/// Acts at random; the arguments are the domain, a seed, and how many acts.
fn rioter(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let mut dice = Dice::new(cue.number(1));
    let mut came = 0;
    for _ in 0..cue.number(2) {
        let name = NAMES[dice.below(2) as usize];
        let done = act(&domain, name, &mut dice);
        match done {
            Ok(()) => came += 1,
            // What others do to the name just now.
            Err(
                Error::Exists { .. }
                | Error::Owned { .. }
                | Error::NoSuchName { .. }
                | Error::OwnerGone { .. }
                | Error::Busy { .. }
                | Error::Closed(_)
                | Error::TimedOut
                | Error::WouldWait,
            ) => {}
            Err(other) => panic!("{name}: {} {other:?}", kind(&other)),
        }
    }
    cue.say(format!("done {came}"));
    cue.hear();
}

fn options(domain: &Domain) -> tubepost::Options<[u8]> {
    Mailbox::options().domain(domain).bounded(PLACES)
}

fn act(domain: &Domain, name: &str, dice: &mut Dice) -> Result<(), Error> {
    match dice.below(10) {
        0 | 1 => options(domain).create(name).map(|_| ()),
        2 | 3 => {
            let inbox = options(domain).own(name)?;
            for _ in 0..dice.below(20) {
                // Nobody here takes a living owner's mailbox away, so the name means this one.
                let stat = domain.stat(name).unwrap_or_else(|error| panic!("a living owner's: {error:?}"));
                assert_eq!(stat.id, inbox.id(), "two living mailboxes of one name");
                assert!(stat.owner.alive && stat.owner.pid == Some(std::process::id()));
                receive(&inbox, dice)?;
            }
            if dice.below(2) == 0 { inbox.close().map(|_| ()) } else { Ok(()) }
        }
        4 | 5 => {
            let out = Sender::<[u8]>::options().domain(domain).open(name)?;
            for _ in 0..dice.below(20) {
                let length = [8, 100, 3000, 20_000][dice.below(4) as usize];
                out.send_timeout(&pattern(length), SHORT)?;
            }
            let now = domain.stat(name).map(|stat| stat.id);
            // Another has the name, so this one has ended.
            assert!(now.is_err() || now.as_ref() == Ok(&out.id()) || out.is_closed(), "two of one name live");
            Ok(())
        }
        6 | 7 => {
            let inbox = Receiver::<[u8]>::options().domain(domain).open(name)?;
            (0..dice.below(20)).try_for_each(|_| receive(&inbox, dice))
        }
        8 => domain.remove(name).map(|_| ()),
        _ => {
            let swept = domain.gc()?;
            for (name, error) in swept.left_alone {
                assert!(matches!(error, Error::Busy { .. }), "{name}: {error:?}");
            }
            domain.list().map(|_| ())
        }
    }
}

fn receive(inbox: &Receiver<[u8]>, dice: &mut Dice) -> Result<(), Error> {
    let message = match dice.below(3) {
        0 => inbox.recv_timeout(SHORT).map_err(Error::from),
        1 => inbox.take_timeout(SHORT).map_err(Error::from).map(|it| it.to_vec()), // and back it goes
        _ => inbox.take_timeout(SHORT).map_err(Error::from).and_then(|it| {
            let message = it.to_vec();
            it.accept().map(|()| message)
        }),
    };
    match message {
        Ok(message) => assert!(message == pattern(message.len()), "a torn message"),
        Err(Error::TimedOut) => {}
        // Removed, and counted as never collected, while it was in hand.
        Err(Error::NotHeld { .. }) => {}
        Err(other) => return Err(other),
    }
    Ok(())
}

#[test]
fn one_name_in_a_storm() {
    let place = Place::new();
    let mut dice = Dice::new(7);
    let start = |dice: &mut Dice| {
        Child::start("rioter", &[&place.arg(), &dice.roll().to_string(), &(50 + dice.below(400)).to_string()])
    };
    let mut rioters: Vec<Child> = (0..RIOTERS).map(|_| start(&mut dice)).collect();
    let (mut killed, mut done, mut came) = (0, 0, 0);
    let mut count = |line: &str| {
        done += 1;
        came += line.strip_prefix("done ").and_then(|it| it.parse::<u64>().ok()).expect("what it did");
    };
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        // Waits for nothing: the next kill shall come at a random moment.
        std::thread::sleep(Duration::from_millis(dice.below(25)));
        let at = dice.below(RIOTERS as u64) as usize;
        match rioters[at].hear_now() {
            Some(line) => count(&line),
            None => {
                assert!(!rioters[at].is_dead(), "one ended by itself, without a word");
                rioters[at].kill();
                killed += 1;
            }
        }
        rioters[at] = start(&mut dice);
    }
    // Those who are left end by themselves, or one of them hangs.
    rioters.iter_mut().for_each(|it| count(&it.hear()));
    println!("{killed} killed, {done} done with {came} acts that came off");
    assert!(killed > 20 && done > RIOTERS && came > 100);
    drop(rioters);
    // Of the dead nothing is left. What the system owns is fit for use.
    let swept = place.domain().gc().expect("our own");
    assert!(swept.left_alone.is_empty(), "{swept:?}");
    let again = place.domain().gc().expect("our own");
    assert!(again.removed.is_empty() && again.rows == 0 && again.bytes == 0, "{again:?}");
    let listed = place.domain().list().expect("our own");
    assert_eq!(listed.len(), place.files().len());
    for it in listed {
        let stat = it.stat.unwrap_or_else(|error| panic!("{}: {error:?}", it.name));
        assert_eq!((stat.owner.pid, stat.held), (None, 0), "{}", it.name);
        let out = Sender::<[u8]>::options().domain(place.domain()).open(&it.name).expect("it lives");
        let inbox = Receiver::<[u8]>::options().domain(place.domain()).open(&it.name).expect("it lives");
        assert_eq!(
            inbox.try_iter().inspect(|it| assert!(*it == pattern(it.len()))).count() as u64,
            stat.depth
        );
        for _ in 0..3 {
            (0..PLACES).for_each(|_| out.try_send(&pattern(2000)).expect("all places are free"));
            assert!(out.try_send(b"x").is_err_and(|it| it.is_full()));
            (0..PLACES).for_each(|_| assert!(inbox.try_recv().as_deref() == Ok(&pattern(2000))));
        }
        assert_eq!(place.domain().remove(&it.name).expect("ours").uncollected, 0);
    }
    assert!(place.files().is_empty());
}
