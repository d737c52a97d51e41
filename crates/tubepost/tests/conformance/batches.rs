//! Many messages in one call: as if they had been sent and received one by one, on every row, whoever dies in it.

use std::time::Duration;

use tubepost::{Closed, Domain, Error, Receiver, RecvTimeoutError, SendManyError, Sender, TryRecvError};

use crate::cast::A_MOMENT;
use crate::letters::{Stamp, pattern};
use crate::rows::{
    ROWS, Row, on_every_row, on_every_row_of_a_process, on_every_row_of_the_system, open, receive,
};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, eventually, thread_id, until_asleep};
use crate::stepped::{all_over, walks};

pub const ROLES: &[Role] = &[("batcher", batcher)];

/// More than are claimed at one time.
const MANY: usize = 200;

/// Receives exactly so many, in as many calls as it takes.
fn receive_all<M: tubepost::Message + ?Sized>(inbox: &Receiver<M>, count: usize) -> Vec<M::Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let before = all.len();
        let got = inbox.recv_many_timeout(&mut all, count - before, PATIENCE).expect("messages come");
        assert_eq!(all.len() - before, got);
        assert!(got > 0);
    }
    all
}

#[test]
fn as_many_as_there_is_room_for_and_as_there_are() {
    on_every_row(|row| {
        if !row.is_limited("as_many_as_there_is_room_for") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let n = row.n() as usize;
        let numbers: Vec<u64> = (0..2 * n as u64 + 3).collect();
        for lap in (0..3).map(|lap: u64| lap.min(row.n())) {
            // From another place of the ring each time.
            (0..lap).for_each(|at| out.try_send(at).expect("a place"));
            assert_eq!(inbox.try_iter().count() as u64, lap);
            assert_eq!(out.try_send_many(&numbers), Ok(n), "of {} there is room for {n}", numbers.len());
            assert_eq!(out.try_send_many(&numbers), Ok(0));
            assert_eq!((out.len(), out.is_full()), (n, true));
            let timeout = out.send_many_timeout(&numbers, Duration::ZERO);
            assert_eq!(timeout, Err(SendManyError { sent: 0, error: Error::TimedOut }));
            let mut got = vec![77];
            assert_eq!(inbox.recv_many(&mut got, 0), Ok(0), "none were asked for");
            assert_eq!(inbox.recv_many(&mut got, 1), Ok(1));
            assert_eq!(inbox.try_recv_many(&mut got, usize::MAX).unwrap_or(0), n - 1);
            assert_eq!(got[0], 77, "what was there stays");
            assert_eq!(got[1..], numbers[..n]);
            assert_eq!(inbox.try_recv_many(&mut got, 10), Err(TryRecvError::Empty));
            assert_eq!(inbox.recv_many_timeout(&mut got, 10, A_MOMENT), Err(RecvTimeoutError::Timeout));
            let stat = place.domain().stat("box").expect("it lives");
            assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, stat.received));
        }
    });
}

#[test]
fn a_batch_longer_than_the_mailbox_waits_for_room() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        let sent: Vec<Vec<u8>> = (0..MANY).map(|at| pattern(at % 70, at as u64)).collect();
        let got = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| receive_all(&inbox, MANY));
            out.send_many(&sent.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("it is received");
            receiver.join().expect("all come")
        });
        assert_eq!(got, sent);
        if !row.is_limited("a_batch_longer_than_the_mailbox, in vain") {
            return;
        }
        // And in vain: the first ones are sent.
        let refs: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let refs = &refs[..(row.n() as usize + 1).min(MANY)];
        let expected = if refs.len() > row.n() as usize {
            Err(SendManyError { sent: row.n() as usize, error: Error::TimedOut })
        } else {
            Ok(())
        };
        assert_eq!(out.send_many_timeout(refs, A_MOMENT), expected);
        assert_eq!(
            receive_all(&inbox, refs.len().min(row.n() as usize)),
            refs[..refs.len().min(row.n() as usize)]
        );
    });
}

/// Messages in chunks go by themselves, in their turn.
#[test]
fn long_ones_among_short_ones_keep_their_order() {
    for row in ROWS {
        let place = Place::new();
        let options = row.options::<[u8]>(place.domain()).max_message(1 << 20);
        let inbox = row.receiver(options, &place, "box");
        let out = open::<[u8]>(&place, "box");
        let lengths = [10, 5_000, 0, 240, 241, 100_000, 7, 7, 300, 9];
        let sent: Vec<Vec<u8>> =
            (0..MANY).map(|at| pattern(lengths[at % lengths.len()], at as u64)).collect();
        let got = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| receive_all(&inbox, MANY));
            out.send_many(&sent.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("it is received");
            receiver.join().expect("all come")
        });
        assert!(got == sent, "{row}");
    }
}

#[test]
fn an_error_says_how_many_were_sent_before() {
    on_every_row(|row| {
        if row.n() < 7 {
            return;
        }
        let place = Place::new();
        let options = row.options::<str>(place.domain()).max_message(8);
        let inbox = row.receiver(options, &place, "box");
        let out = open::<str>(&place, "box");
        let words = ["one", "two", "much too long", "four"];
        for failed in [out.send_many(&words).unwrap_err(), out.try_send_many(&words).unwrap_err()] {
            assert_eq!(failed.sent, 2);
            assert_eq!(failed.error, Error::TooLong { length: 13, max: 8 });
            assert!(failed.to_string().contains("first 2"), "{failed}");
        }
        assert_eq!(receive_all(&inbox, 4), ["one", "two", "one", "two"]);
        assert!(inbox.is_empty());
    });
}

/// One that is no text among others: it is left out, the others come, and the error is told.
#[test]
fn what_is_no_message_is_left_out() {
    on_every_row(|row| {
        if row.n() < 7 {
            return;
        }
        let place = Place::new();
        let inbox = row.receiver(row.options::<str>(place.domain()), &place, "box");
        // Bytes with the label of text are what a sender in another language might send.
        let out = Sender::<[u8]>::options().domain(place.domain()).format("str").open("box");
        out.expect("the same label").send_many(&[b"a", b"\xff", b"b"]).expect("places");
        let mut got = Vec::new();
        let failed = inbox.try_recv_many(&mut got, 10);
        assert_eq!(failed, Err(TryRecvError::Failed(Error::BadText)));
        while let Ok(more) = inbox.try_recv_many(&mut got, 10) {
            assert!(more > 0);
        }
        assert_eq!(got, ["a", "b"]);
        let stat = place.domain().stat("box").expect("it lives");
        assert_eq!((stat.depth, stat.held, stat.sent, stat.received), (0, 0, 3, 3));
    });
}

#[test]
fn what_was_given_back_and_what_is_awaited_come_in_a_batch_too() {
    on_every_row(|row| {
        if row.n() < 7 {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        out.send_many(&[1, 2, 3]).expect("places");
        drop(inbox.take().expect("the first one"));
        let collected = std::thread::scope(|scope| {
            let (sayer, who) = std::sync::mpsc::channel();
            let out = &out;
            let sender = scope.spawn(move || {
                sayer.send(thread_id()).expect("the test listens");
                out.send_collected_timeout(4, PATIENCE)
            });
            until_asleep(std::process::id(), who.recv().expect("it says who it is"));
            assert_eq!(inbox.len(), 4);
            out.send(5).expect("a place");
            assert_eq!(receive_all(&inbox, 5), [1, 2, 3, 4, 5]);
            sender.join().expect("no panic")
        });
        assert_eq!(collected, Ok(()));
    });
}

#[test]
fn a_closed_mailbox_says_so() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        assert_eq!(out.try_send_many(&[1, 2]), Ok(row.n().min(2) as usize));
        let closed = inbox.close().expect("ours");
        assert_eq!(closed, Closed { uncollected: row.n().min(2) });
        let failed = out.send_many(&[3]).unwrap_err();
        assert_eq!(failed, SendManyError { sent: 0, error: Error::Closed(closed) });
        assert!(failed.is_closed() && !failed.is_timeout());
        let mut got = Vec::new();
        assert_eq!(inbox.try_recv_many(&mut got, 9), Err(TryRecvError::Closed(closed)));
        assert!(got.is_empty());
    });
}

/// Sends stamps in batches of changing length until it is killed; the arguments are domain and name. Or receives so
/// for ever, if a third one says so.
fn batcher(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let mut dice = Dice::new(7);
    if cue.arg(2) == "receive" {
        let inbox = Receiver::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
        cue.say("ready");
        loop {
            let mut got = Vec::new();
            inbox.recv_many(&mut got, 1 + dice.below(100) as usize).expect("it stays");
            assert!(got.iter().all(Stamp::is_whole));
        }
    }
    let out = Sender::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    cue.say("ready");
    let mut count = 0;
    loop {
        let end = count + 1 + dice.below(100);
        let batch: Vec<Stamp> = (count..end).map(|count| Stamp::new(std::process::id(), 0, count)).collect();
        out.send_many(&batch).expect("it stays");
        count = end;
    }
}

fn start_batcher(place: &Place, what: &str) -> Child {
    let mut child = Child::start("batcher", &[&place.arg(), "box", what]);
    child.expect("ready");
    child
}

/// Two senders of batches are killed at random moments and replaced: what comes of each is a prefix of what it sent, whole and
/// in order, and all places serve afterwards.
#[test]
fn senders_killed_in_a_batch() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "box");
        let mut dice = Dice::new(row.n());
        let mut senders = [start_batcher(&place, "send"), start_batcher(&place, "send")];
        let mut next = std::collections::HashMap::new();
        let mut take = |most: usize| {
            let mut got = Vec::new();
            inbox.recv_many_timeout(&mut got, most, PATIENCE).expect("one of them lives");
            for stamp in got {
                let expected = next.entry(stamp.process).or_insert(0);
                assert!(stamp.is_whole());
                assert_eq!(stamp.count, *expected, "of process {}", stamp.process);
                *expected += 1;
            }
        };
        for kill in 0..8 {
            (0..1 + dice.below(40)).for_each(|_| take(1 + dice.below(100) as usize));
            senders[kill % 2].kill();
            senders[kill % 2] = start_batcher(&place, "send");
        }
        senders.iter_mut().for_each(Child::kill);
        while inbox.recv_timeout(A_MOMENT).is_ok() {}
        let out = open::<Stamp>(&place, "box");
        let batch: Vec<Stamp> = (0..row.n()).map(|count| Stamp::new(1, 0, count)).collect();
        assert_eq!(out.try_send_many(&batch), Ok(row.n() as usize), "all places are free");
        assert_eq!(receive_all(&inbox, batch.len()), batch);
    });
}

/// A sender died with a run of claims: whoever only polls finds out about all of them at once, and not about one after the
/// other, each a while later. It took 12 ms for each of up to 64.
#[test]
fn a_dead_run_does_not_hold_up_who_polls() {
    for row in
        ROWS.iter().filter(|row| row.n() == 64 && row.shares_memory("a_dead_run_does_not_hold_up_who_polls"))
    {
        walks(
            row,
            "send many",
            all_over(12),
            |place| row.own::<u64>(place, "box"),
            |place, inbox, _| {
                let out = open::<u64>(place, "box");
                // Behind what the dead one left, or in front of nothing.
                eventually("there is a place for one more", || out.try_send(1_000).is_ok());
                let (mut got, mut looks) = (Vec::new(), 0);
                eventually("a receiver that polls finds it", || {
                    looks += 1;
                    while inbox.try_recv_many(&mut got, 10).is_ok() {}
                    got.last() == Some(&1_000)
                });
                // There are 200 µs at least between two looks. One by one they are thousands.
                assert!(looks < 400, "after {looks} looks");
                let sent: Vec<u64> = got.iter().copied().take(got.len() - 1).collect();
                assert_eq!(sent, (0..sent.len() as u64).collect::<Vec<_>>(), "a prefix");
                let all: Vec<u64> = (0..row.n()).collect();
                assert_eq!(out.try_send_many(&all), Ok(all.len()), "all places are free");
                assert_eq!(receive_all(&inbox, all.len()), all);
            },
        );
    }
}

/// A receiver of batches that is killed, among others: what it had taken and not freed comes again, marked, nothing comes twice.
#[test]
fn receivers_killed_in_a_batch() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let out = open::<Stamp>(&place, "box");
        let mut dice = Dice::new(row.n());
        let mut sent = 0;
        let mut send = |count: u64| {
            let batch: Vec<Stamp> = (sent..sent + count).map(|at| Stamp::new(1, 0, at)).collect();
            out.send_many(&batch).expect("somebody receives");
            sent += count;
        };
        let mut worker = start_batcher(&place, "receive");
        for _ in 0..8 {
            (0..1 + dice.below(40)).for_each(|_| send(1 + dice.below(100)));
            worker.kill();
            worker = start_batcher(&place, "receive");
        }
        worker.kill();
        let inbox = receive::<Stamp>(&place, "box");
        let mut seen = std::collections::HashSet::new();
        eventually("all was received", || {
            while let Ok(envelope) = inbox.try_recv_envelope() {
                assert!(envelope.message.is_whole());
                assert!(seen.insert(envelope.message.count), "twice: {envelope:?}");
            }
            let stat = place.domain().stat("box").expect("it stays");
            (stat.depth, stat.held) == (0, 0) && stat.sent == stat.received
        });
        let stat = place.domain().stat("box").expect("it stays");
        assert_eq!(stat.received, sent, "each once, by one or the other");
    });
}

/// What a walker can be told to do here; see `stepped`.
pub const CALLS: &[&str] = &["send many", "receive many"];

/// The walker's part.
pub fn make(call: &str, domain: &Domain, between_marks: impl Fn(&mut dyn FnMut())) {
    if call == "send many" {
        let out = Sender::<u64>::options().domain(domain).open("box").expect("it exists");
        let batch: Vec<u64> = (0..63).collect();
        between_marks(&mut || out.send_many(&batch).expect("places"));
    } else {
        let inbox = Receiver::<u64>::options().domain(domain).open("box").expect("it exists");
        let mut got = Vec::with_capacity(64);
        between_marks(&mut || _ = inbox.recv_many(&mut got, 5).expect("they wait"));
    }
}

/// A receiver killed with several in hand: those that it had not freed come again, marked; the others are gone, and they are the first
/// ones.
#[test]
fn a_receiver_killed_with_several_in_hand() {
    let rows = ROWS.iter().filter(|row: &&Row| row.n() == 7);
    for row in rows.filter(|row| row.owned == crate::rows::Owned::BySystem) {
        walks(
            row,
            "receive many",
            all_over(24),
            |place| {
                row.options::<u64>(place.domain()).create("box").expect("a free name");
                let out = open::<u64>(place, "box");
                out.send_many(&[0, 1, 2, 3, 4, 5, 6]).expect("places");
                out
            },
            |place, out, _| {
                let inbox = receive::<u64>(place, "box");
                let mut got = Vec::new();
                eventually("all was received", || {
                    while let Ok(envelope) = inbox.try_recv_envelope() {
                        got.push((envelope.message, envelope.redelivered));
                    }
                    let stat = place.domain().stat("box").expect("it stays");
                    (stat.depth, stat.held) == (0, 0)
                });
                got.sort_unstable();
                let first = got.first().expect("two were not asked for").0;
                assert!(first <= 5, "{got:?}");
                assert!(got.iter().map(|it| it.0).eq(first..7), "{got:?}");
                assert!(got.iter().all(|it| it.1 <= u32::from(it.0 < 5)), "{got:?}");
                let all: Vec<u64> = (0..row.n()).collect();
                assert_eq!(out.try_send_many(&all), Ok(all.len()), "all places are free");
            },
        );
    }
}
