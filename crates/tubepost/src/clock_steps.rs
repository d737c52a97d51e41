//! Tests: what the system's clock is set to matters to the times of messages, and to nothing else.

use crate::journal::store::{STEPPED, now};
use crate::{Cursor, Domain, File, From, Fsync, Mailbox, Receiver, RecvTimeoutError, Retain, Sender};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const HOUR: i64 = 3600;
/// Ten of them fill the first file.
const LONG: usize = 100_000;

/// One test at a time sets the clock, which is right again afterwards.
static CLOCK: Mutex<()> = Mutex::new(());

struct Stage {
    domain: Domain,
    directory: PathBuf,
    _clock: MutexGuard<'static, ()>,
}

impl Stage {
    fn new(file: File) -> Stage {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let path = format!("/dev/shm/tubepost-clock-{}", std::process::id());
        let stage = Stage {
            domain: Domain::open(&path).expect("a fresh one"),
            directory: format!("{path}-files").into(),
            _clock: clock,
        };
        stage.create(file);
        stage
    }

    fn create(&self, file: File) {
        let file = File { dir: Some(self.directory.clone()), ..file };
        Mailbox::<[u8]>::options().domain(&self.domain).strategy(file).create("box").expect("it can be made");
    }

    /// What a restart of the machine leaves.
    fn restart(&self) {
        for entry in std::fs::read_dir(self.domain.path()).expect("ours").flatten() {
            std::fs::remove_file(entry.path()).expect("ours");
        }
        self.create(File::default());
    }

    fn sender(&self) -> Sender<[u8]> {
        Sender::<[u8]>::options().domain(&self.domain).open("box").expect("it exists")
    }

    fn receiver(&self) -> Receiver<[u8]> {
        Receiver::<[u8]>::options().domain(&self.domain).open("box").expect("it exists")
    }

    fn cursor(&self, name: &str, from: From) -> Cursor<[u8]> {
        Cursor::<[u8]>::options().domain(&self.domain).from(from).open("box", name).expect("a free name")
    }

    fn log(&self) -> crate::LogStat {
        self.domain.stat("box").expect("it exists").log.expect("in files")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        set(0);
        let _ = self.domain.remove("box");
        let _ = std::fs::remove_dir(self.domain.path());
    }
}

/// Sets the clock so many seconds ahead of the right time.
fn set(seconds: i64) {
    STEPPED.store((seconds * 1_000_000_000) as u64, Relaxed);
}

/// So many seconds ahead of the right time.
fn time(seconds: i64) -> SystemTime {
    let right = now().wrapping_sub(STEPPED.load(Relaxed));
    SystemTime::UNIX_EPOCH + Duration::from_nanos(right.wrapping_add((seconds * 1_000_000_000) as u64))
}

fn letter(number: u64) -> Vec<u8> {
    let mut letter = vec![number as u8; LONG];
    letter[..8].copy_from_slice(&number.to_le_bytes());
    letter
}

fn number_of(letter: &[u8]) -> u64 {
    u64::from_le_bytes(letter[..8].try_into().expect("eight"))
}

#[test]
fn whatever_the_clock_says_all_comes_once_and_in_order_and_is_found_by_its_time() {
    let stage = Stage::new(File::default());
    let (out, inbox, audit) = (stage.sender(), stage.receiver(), stage.cursor("audit", From::Start));
    let hours = [0, 10, -5, 0, 3, -20, 48, -1];
    let mut sent = Vec::new();
    for step in hours {
        set(step * HOUR);
        for _ in 0..15 {
            out.send(&letter(sent.len() as u64)).expect("room");
            sent.push(step);
        }
    }
    assert!(stage.log().files > 3, "the clock was set between files, and within them");
    let first_since = |hour: i64| sent.iter().position(|step| *step >= hour).unwrap_or(sent.len()) as u64;
    for hour in -25..50 {
        // Half an hour before the full one.
        let late = stage.cursor("late", From::Time(time(hour * HOUR - HOUR / 2)));
        assert_eq!(late.next_seq(), first_since(hour), "the first one that was sent at {hour} or later");
        let found = late.try_recv_envelope().ok();
        let expected =
            (late.next_seq() > 0).then_some(first_since(hour)).filter(|it| *it < sent.len() as u64);
        assert_eq!(found.map(|it| (it.seq, number_of(&it.message))), expected.map(|it| (it, it)));
    }
    // Each once, in order, by the queue and beside it.
    for expected in 0..sent.len() as u64 {
        let (one, other) = (inbox.recv_envelope().expect("sent"), audit.recv_envelope().expect("sent"));
        assert_eq!((one.seq, number_of(&one.message), one.redelivered), (expected, expected, 0));
        assert_eq!((other.seq, number_of(&other.message)), (expected, expected));
    }
    assert!(inbox.try_recv().is_err() && audit.try_recv().is_err());
}

/// Sends and receives.
fn stream(stage: &Stage, number: u64) -> u64 {
    let (out, inbox) = (stage.sender(), stage.receiver());
    let begin = stage.log().next;
    for number in begin..begin + number {
        out.send(&letter(number)).expect("room");
        assert_eq!(number_of(&inbox.recv().expect("it was sent")), number);
    }
    begin
}

fn for_an_hour() -> File {
    let retain = Retain { age: Some(Duration::from_secs(HOUR as u64)), ..Retain::default() };
    File { retain: Some(retain), ..File::default() }
}

#[test]
fn what_is_kept_for_its_age_goes_when_the_clock_was_set_back_and_not_sooner() {
    let stage = Stage::new(for_an_hour());
    stream(&stage, 80);
    set(HOUR / 2);
    stream(&stage, 80);
    assert_eq!(stage.log().first, 0, "all is younger than an hour");
    let files = || stage.log().files;
    let before = files();
    set(-10 * HOUR);
    let back = stream(&stage, 200);
    assert!(files() > before, "another file came");
    assert_eq!(stage.log().first, 0, "nothing is older than it was");
    let before = files();
    set(-9 * HOUR - 60);
    let later = stream(&stage, 330);
    assert!(files() > before, "another file came, so it was looked at");
    assert_eq!(stage.log().first, 0, "by now an hour is not over");
    // An hour after the clock was set back: what was sent before that goes, though its time is still to come.
    set(-9 * HOUR + 60);
    stream(&stage, 700);
    let first = stage.log().first;
    assert!(first >= back, "an hour is over, and all from {first} on is there");
    assert!(first <= later, "what was sent since {later} is there, and not only from {first} on");
    // Set forward they go sooner; what is sent from then on stays.
    set(100 * HOUR);
    let begin = stream(&stage, 2000);
    let now = stage.log().first;
    assert!(now > first && now <= begin, "from {now} on; {begin} was the first since");
    let late = stage.cursor("late", From::Start);
    assert_eq!(late.try_iter().count() as u64, stage.log().next - now);
}

#[test]
fn after_a_restart_the_age_is_that_of_the_messages_and_not_of_their_file() {
    let stage = Stage::new(for_an_hour());
    set(-10 * HOUR);
    stream(&stage, 1);
    set(0);
    stream(&stage, 9);
    stage.restart();
    // It does not fit the first file.
    stream(&stage, 1);
    assert_eq!((stage.log().files, stage.log().first), (2, 0), "the messages are seconds old");
    set(2 * HOUR);
    stream(&stage, 100);
    assert!(stage.log().first > 0, "now they are old");
}

#[test]
fn the_disk_is_brought_up_to_date_whatever_the_clock_says() {
    let stage = Stage::new(File { fsync: Some(Fsync::Every(Duration::from_millis(5))), ..File::default() });
    let out = stage.sender();
    for (at, hours) in [0, -24, 48, -1000, 0].into_iter().enumerate() {
        set(hours * HOUR);
        out.send(b"soon").expect("room");
        let begin = Instant::now();
        while stage.log().durable != at as u64 + 1 {
            assert!(begin.elapsed() < Duration::from_secs(30), "it is not on the disk at {hours} h");
            std::thread::yield_now();
        }
    }
}

#[test]
fn deadlines_and_holding_times_are_not_by_that_clock() {
    const SHORT: Duration = Duration::from_millis(50);
    let stage = Stage::new(File::default());
    let out = stage.sender();
    let holder = Receiver::<[u8]>::options().domain(&stage.domain).hold_max(SHORT).open("box");
    let (holder, inbox) = (holder.expect("it exists"), stage.receiver());
    for hours in [1000, -1000, 0] {
        out.send(b"one").expect("room");
        let held = holder.take().expect("it was sent");
        let begin = Instant::now();
        set(hours * HOUR);
        let again = inbox.recv_envelope_timeout(Duration::from_secs(30)).expect("it comes again");
        assert!(begin.elapsed() >= SHORT, "after {:?}, with the clock at {hours} h", begin.elapsed());
        assert_eq!((&*again.message, again.redelivered), (&b"one"[..], 1));
        assert!(held.accept().is_err(), "it was taken out of the hand");
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| inbox.recv_timeout(SHORT));
            set(-hours * HOUR);
            assert!(matches!(waits.join().expect("no panic"), Err(RecvTimeoutError::Timeout)));
        });
        assert!(begin.elapsed() >= SHORT, "a deadline is not moved by {hours} h");
    }
}
