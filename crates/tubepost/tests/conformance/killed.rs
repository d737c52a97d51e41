//! Senders killed at any moment (P1): the receiver gets of each one a whole, gapless beginning with all that
//! was accepted in it, nothing twice, and the others go on.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use tubepost::{Domain, Sender};

use crate::cast::{set_waiting, start_user};
use crate::letters::Stamp;
use crate::order::Ledger;
use crate::rows::{Row, on_every_row, on_every_row_of_a_process, open};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, eventually, spin_for};

pub const ROLES: &[Role] = &[("victim", victim), ("survivor", survivor)];

/// Sends until it is killed, and notes after each send that it was accepted; the arguments are domain, name
/// and the file for the notes.
fn victim(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    let notes = File::options().write(true).open(cue.arg(2)).expect("the test's file");
    cue.say("ready");
    for count in 0.. {
        out.send(Stamp::new(std::process::id(), 0, count)).expect("the owner lives");
        notes.write_all_at(&(count + 1).to_le_bytes(), 0).expect("a note");
    }
}

/// Sends a given number among the dying; the arguments are domain, name, count.
fn survivor(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    cue.say("ready");
    for count in 0..cue.number(2) {
        out.send_timeout(Stamp::new(std::process::id(), 0, count), PATIENCE).expect("room soon");
    }
    cue.say("sent");
}

/// One that will be killed, with its notes.
struct Victim {
    child: Child,
    notes: File,
}

impl Victim {
    fn start(place: &Place, at: usize) -> Victim {
        let path = place.path().with_extension(format!("notes-{at}"));
        let notes =
            File::options().read(true).write(true).create_new(true).open(&path).expect("a fresh file");
        notes.write_all_at(&[0; 8], 0).expect("the first note");
        let mut child = Child::start("victim", &[&place.arg(), "box", path.to_str().expect("our own path")]);
        child.expect("ready");
        std::fs::remove_file(&path).expect("our own file");
        Victim { child, notes }
    }

    /// How many messages it knew to be accepted.
    fn accepted(&self) -> u64 {
        let mut note = [0; 8];
        self.notes.read_exact_at(&mut note, 0).expect("the last note");
        u64::from_le_bytes(note)
    }
}

/// 6 rows × 36 kills, two victims at a time, beside a survivor.
#[test]
fn senders_killed_at_random_moments() {
    const KILLS: usize = 36;
    const SURVIVES: u64 = 5_000;
    let kills = std::cell::Cell::new(0);
    on_every_row(|row: &Row| {
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "box");
        let mut survivor = Child::start("survivor", &[&place.arg(), "box", &SURVIVES.to_string()]);
        survivor.expect("ready");
        let (mut ledger, mut dice) = (Ledger::default(), Dice::new(row.n()));
        let mut dead: HashMap<u32, u64> = HashMap::new();
        let mut victims = Vec::new();
        for at in 0..KILLS + 2 {
            if at < KILLS {
                victims.push(Victim::start(&place, at));
            }
            if at < 2 {
                continue;
            }
            // While the elder of the two dies, everything streams.
            for _ in 0..dice.below(200) {
                ledger.enter_envelope(&inbox.recv_envelope_timeout(PATIENCE).expect("a message soon"));
            }
            spin_for(Duration::from_nanos(dice.below(20_000)));
            let mut victim = victims.remove(0);
            victim.child.kill();
            kills.set(kills.get() + 1);
            dead.insert(victim.child.pid(), victim.accepted());
        }
        // All victims are dead. What is left is theirs and the survivor's.
        while ledger.from(survivor.pid()) < SURVIVES {
            ledger.enter_envelope(&inbox.recv_envelope_timeout(PATIENCE).expect("a message soon"));
        }
        survivor.expect("sent");
        // (Where there is no limit that may be much, with dead claims in it: who counts walks over them.)
        eventually("all was received", || {
            while let Ok(envelope) = inbox.try_recv_envelope() {
                ledger.enter_envelope(&envelope);
            }
            inbox.is_empty()
        });
        for (pid, accepted) in dead {
            let came = ledger.from(pid);
            // Killed between the send and the note, it had sent one more.
            assert!(came == accepted || came == accepted + 1, "of {accepted} accepted {came} came");
        }
        // Nothing stays behind: all n places serve again.
        let out = open::<Stamp>(&place, "box");
        for count in 0..row.n() {
            out.try_send(Stamp::new(1, 0, count)).expect("all places are free again");
        }
        if row.is_limited("one more than fit, after deaths") {
            assert!(out.try_send(Stamp::new(1, 0, row.n())).is_err_and(|error| error.is_full()));
        }
        assert_eq!(inbox.try_iter().count() as u64, row.n());
    });
    println!("{} senders killed in the middle of a stream", kills.get());
    assert!(kills.get() >= 200);
}

/// Many die at once, so that dead claims lie side by side and cover a whole lap of a small ring.
#[test]
fn all_senders_killed_at_once() {
    on_every_row(|row| {
        // It relies on one order of all senders' messages.
        if !row.shares_places("all_senders_killed_at_once") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "box");
        let mut ledger = Ledger::default();
        let mut dice = Dice::new(row.n() ^ 99);
        for _ in 0..4 {
            let mut victims: Vec<Victim> = (0..3).map(|at| Victim::start(&place, at)).collect();
            for _ in 0..dice.below(300) {
                ledger.enter(&inbox.recv_timeout(PATIENCE).expect("a message soon"));
            }
            victims.iter_mut().for_each(|victim| victim.child.strike());
            victims.iter_mut().for_each(|victim| victim.child.kill());
            // A living sender gets through whatever they left.
            let out = open::<Stamp>(&place, "box");
            let mark = ledger.from(1);
            let sender = std::thread::spawn(move || {
                out.send_timeout(Stamp::new(1, 0, mark), PATIENCE).expect("room soon");
            });
            while ledger.from(1) == mark {
                ledger.enter(&inbox.recv_timeout(PATIENCE).expect("a message soon"));
            }
            sender.join().expect("no panic");
            assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
            for victim in victims {
                let (accepted, came) = (victim.accepted(), ledger.from(victim.child.pid()));
                assert!(came == accepted || came == accepted + 1, "of {accepted} accepted {came} came");
            }
        }
    });
}

#[test]
fn a_sender_killed_while_the_queue_is_full() {
    on_every_row(|row| {
        let test = "a_sender_killed_while_the_queue_is_full";
        if !row.shares_places(test) || !row.is_limited(test) {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        for round in 0..5 {
            (0..row.n()).for_each(|at| out.try_send(at).expect("a free place"));
            let mut user = start_user(&place, "box");
            set_waiting(&mut user, if round % 2 == 0 { "send 7" } else { "send_for 7" });
            user.kill();
            assert!(out.try_send(8).is_err_and(|error| error.is_full()));
            for at in 0..row.n() {
                assert_eq!(inbox.recv_timeout(PATIENCE), Ok(at));
            }
            assert!(inbox.try_recv().is_err_and(|error| error.is_empty()), "the dead one's never went in");
        }
    });
}

/// The owner is killed in the middle of a stream: every sender is told the same number, and none hangs.
#[test]
fn an_owner_killed_in_the_middle_of_a_stream() {
    on_every_row_of_a_process(|row| {
        for round in 0..6 {
            let place = Place::new();
            let mut owner = crate::cast::start_owner(&place, "box", row);
            let outs = [open::<u64>(&place, "box"), open::<u64>(&place, "box")];
            owner.say("take 1000000000");
            let senders = outs.map(|out| {
                std::thread::spawn(move || {
                    let mut accepted = 0;
                    loop {
                        match out.send_timeout(accepted, PATIENCE) {
                            Ok(()) => accepted += 1,
                            Err(tubepost::SendTimeoutError::Closed(_, closed)) => return (accepted, closed),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            });
            let mut dice = Dice::new(row.n() ^ round << 20);
            // Waits for nothing: the kill shall come at a random moment of the stream.
            std::thread::sleep(Duration::from_micros(dice.below(10_000)));
            owner.kill();
            let ends = senders.map(|sender| sender.join().expect("no panic"));
            if row.shares_places("everyone is told the same number") {
                assert_eq!(ends[0].1, ends[1].1, "everyone is told the same");
            }
            // Where nothing waits it may have been given one that it did not live to receive.
            let most = row.capacity().map_or(u64::MAX, |n| n.max(1));
            assert!(ends[0].1.uncollected <= most, "no more than fit: {}", ends[0].1.uncollected);
            assert!(ends[0].1.uncollected <= ends[0].0 + ends[1].0, "no more than were sent");
        }
    });
}
