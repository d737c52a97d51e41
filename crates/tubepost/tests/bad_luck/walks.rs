//! Rubbish in the words that say how far things have got: walks along the ring that never end, positions after which
//! there is none. Every call comes back in time all the same.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::time::Duration;

use tubepost::{Domain, Error, Mailbox, Receiver, RecvTimeoutError, Sender, TryRecvError};

use crate::stage::{PATIENCE, Place};

/// Where the words are (docs/format.md).
struct Words {
    file: File,
    claims: u64,
    takes: u64,
    slots: u64,
    stride: u64,
}

const TAIL_AT: u64 = 0x100;
const HEAD_AT: u64 = 0x140;
const UNTAKEN_AT: u64 = 0x150;
const CLAIM_TURN: u32 = 19;
const TAKE_TURN: u32 = 25;

impl Words {
    /// Of a mailbox of plain messages that fit one line.
    fn of(place: &Place) -> Words {
        let file = File::options().read(true).write(true).open(place.file("box")).expect("it lies there");
        let read = |at| {
            let mut word = [0; 8];
            file.read_exact_at(&mut word, at).expect("within the file");
            u64::from_le_bytes(word)
        };
        let (capacity, format) = (read(0x28), read(0x48));
        let claims = (0x400 + format).next_multiple_of(64);
        let takes = (claims + 8 * capacity).next_multiple_of(64);
        let slots = (takes + 8 * capacity).next_multiple_of(64);
        Words { file, claims, takes, slots, stride: 64 }
    }

    fn write(&self, at: u64, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), at).expect("within the file");
    }
}

/// Something that must not take for ever; in a thread of its own, for it may.
fn in_time<R: Send + 'static>(what: &str, act: impl FnOnce() -> R + Send + 'static) -> R {
    let (to, from) = mpsc::channel();
    std::thread::spawn(move || to.send(act()));
    from.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("{what}: {why}"))
}

fn options(domain: &Domain, capacity: u64) -> tubepost::Options<u64> {
    Mailbox::options().domain(domain).bounded(capacity)
}

/// The word of the only slot said that it had been freed a million million turns ahead. The owner took every position
/// before that for one whose claimant had died and skipped one after the other, for hours, whatever its
/// deadline was.
#[test]
fn a_turn_far_ahead() {
    let place = Place::new();
    let inbox = options(place.domain(), 1).own("box").expect("a free name");
    let words = Words::of(&place);
    words.write(words.slots, 1 << 40 << CLAIM_TURN);
    let (tried, waited) = in_time("an owner that skips", move || {
        (inbox.try_recv(), inbox.recv_timeout(Duration::from_millis(1)))
    });
    assert_eq!((tried, waited), (Err(TryRecvError::Empty), Err(RecvTimeoutError::Timeout)));
}

/// Each word of a ledger named a turn later than the one before it, and the first one a later one than the last:
/// turns are compared modulo their bits. A walk that looks for the end gives up after twice the
/// ring. But closing began such a walk anew, four times the ring often: with a hundred thousand places for minutes.
#[test]
fn ledgers_that_lead_round_and_round() {
    let place = Place::new();
    // A multiple of three, so that it is round.
    let capacity = 3 << 15;
    options(place.domain(), capacity).create("box").expect("a free name");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let inbox = Receiver::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let words = Words::of(&place);
    let third = |at: u64, bits: u32| (at % 3) * ((1 << bits) / 3);
    let ledger = |bits: u32, shift: u32| -> Vec<u8> {
        (0..capacity).flat_map(|at| (third(at, bits) << shift).to_le_bytes()).collect()
    };
    words.file.write_all_at(&ledger(45, CLAIM_TURN), words.claims).expect("within the file");
    words.file.write_all_at(&ledger(39, TAKE_TURN), words.takes).expect("within the file");
    let domain = place.domain().clone();
    in_time("calls on ledgers that lead round and round", move || {
        let short = Duration::from_millis(1);
        let _ = (out.try_send(1), out.send_timeout(2, short), out.len(), out.stat());
        let _ = (inbox.try_recv(), inbox.recv_timeout(short), inbox.try_take().map(drop), inbox.is_full());
        domain.gc().expect("the domain is fine");
        domain.remove("box").expect("it is ours");
        assert!(out.is_closed());
    });
}

/// The words that say how far things have got said: at the last position that there is. Position 2^64 − 1 was claimed,
/// published, and received, and whoever went on to the next one panicked, where additions are checked.
#[test]
fn the_last_position() {
    const CAPACITY: u64 = 7;
    let place = Place::new();
    options(place.domain(), CAPACITY).create("box").expect("a free name");
    let words = Words::of(&place);
    let (turn, index) = (u64::MAX / CAPACITY, u64::MAX % CAPACITY);
    words.write(words.slots + words.stride * index, turn << CLAIM_TURN);
    words.write(words.claims + 8 * index, turn << CLAIM_TURN);
    words.write(words.takes + 8 * index, turn << TAKE_TURN);
    words.write(TAIL_AT, u64::MAX);
    words.write(UNTAKEN_AT, u64::MAX);
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let inbox = Receiver::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    out.try_send(5).expect("a free place");
    let envelope = inbox.try_recv_envelope().expect("a message");
    assert_eq!((envelope.message, envelope.seq), (5, u64::MAX));
    let _ = (out.try_send(6), inbox.try_recv(), inbox.stat());
}

/// The directory of a mailbox without a capacity said of every epoch that it was over, for ever. A sender walked over 2^25 of
/// them to no place, and did so a thousand times for one message; a receiver that waited, several times for each look.
/// Now no walk is longer than twice all that there can be, and a sender that comes to no end of it says so.
#[test]
fn epochs_that_are_all_over() {
    const ROWS_AT: u64 = 0x1000;
    const DIRECTORY_AT: u64 = ROWS_AT + 65_536 * 128;
    const EPOCH: u32 = 25;
    // (As many epochs as the directory has words for.)
    for (owned, ceiling, epochs) in [(false, 1 << 20, 512_u64), (true, 1 << 20, 512), (true, 1 << 30, 16_384)]
    {
        let place = Place::new();
        let options = Mailbox::<u64>::options().domain(place.domain()).unbounded().ceiling(ceiling);
        let inbox = if owned {
            options.own("box").expect("a free name")
        } else {
            options.create("box").expect("a free name");
            Receiver::options().domain(place.domain()).open("box").expect("it exists")
        };
        let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
        out.try_send(1).expect("there is memory");
        let file = File::options().write(true).open(place.file("box")).expect("it lies there");
        // (Half of all that there can be ahead: later than any that is asked for.)
        let over: Vec<u8> = (0..epochs).flat_map(|_| (1_u64 << 37 << EPOCH).to_le_bytes()).collect();
        file.write_all_at(&over, DIRECTORY_AT).expect("within the file");
        let domain = place.domain().clone();
        in_time("calls where everything is over", move || {
            let short = Duration::from_millis(1);
            for result in
                [out.try_send(2).map_err(Error::from), out.send_timeout(3, short).map_err(Error::from)]
            {
                assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
            }
            assert!(out.send_many_timeout(&[4, 5], short).is_err());
            let _ = (out.len(), out.is_full(), out.stat(), out.send_collected_timeout(6, short));
            let _ = (inbox.try_recv(), inbox.recv_timeout(short), inbox.try_take().map(drop), inbox.stat());
            let _ = (domain.gc(), domain.stat("box"));
            if owned {
                inbox.close().expect("it is ours");
            } else {
                domain.remove("box").expect("it is ours");
            }
            assert!(out.is_closed());
        });
    }
}

/// The words that say how far a mailbox without a capacity has got said: half of all positions further, or at the last one.
/// The turns of its places are compared modulo their bits, so they were no other ones there. Then head was beyond tail, and
/// who looked through what is between the two of them went through 2^63 positions.
#[test]
fn a_head_beyond_its_tail() {
    for (owned, segment) in [(false, 4), (true, 4), (false, 1), (true, 1)] {
        for at in [HEAD_AT, UNTAKEN_AT, TAIL_AT] {
            for further in [1 << 63, 3 << 62, u64::MAX - 2, u64::MAX] {
                let place = Place::new();
                let options = Mailbox::<u64>::options()
                    .domain(place.domain())
                    .unbounded()
                    .segments_of(segment)
                    .ceiling(1 << 20);
                let inbox = if owned {
                    options.own("box").expect("a free name")
                } else {
                    options.create("box").expect("a free name");
                    Receiver::options().domain(place.domain()).open("box").expect("it exists")
                };
                let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
                (0..8).for_each(|number| out.try_send(number).expect("there is memory"));
                let hand = inbox.try_take().expect("a message");
                let file = File::options().write(true).open(place.file("box")).expect("it lies there");
                file.write_all_at(&u64::to_le_bytes(further), at).expect("within the file");
                let domain = place.domain().clone();
                in_time(&format!("calls where {at:#x} is {further:#x}"), move || {
                    let short = Duration::from_millis(1);
                    let _ = (out.len(), inbox.len(), out.stat(), inbox.stat(), domain.stat("box"));
                    let _ = (out.try_send(8), out.send_timeout(9, short), out.len());
                    let _ = (out.send_many_timeout(&[10, 11], short), out.send_collected_timeout(12, short));
                    let _ = (inbox.try_recv(), inbox.recv_timeout(short), inbox.try_take().map(drop));
                    drop(hand);
                    let _ = (inbox.take_timeout(short).map(drop), domain.gc(), inbox.stat());
                    if owned {
                        inbox.close().expect("it is ours");
                    } else {
                        domain.remove("box").expect("it is ours");
                    }
                    assert!(out.is_closed());
                });
            }
        }
    }
}
