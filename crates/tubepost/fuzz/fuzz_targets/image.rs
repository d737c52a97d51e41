#![no_main]
//! Opens an arbitrary file as a mailbox, and uses it.
//!
//! Arbitrary bytes are no mailbox and would be refused at once. So the input is mostly a list of changes to an image of
//! a real one, that dead processes left with messages in all states (modes 0 to 12: which image), and only in
//! higher modes the image itself:
//!
//! ```text
//! byte 0     mode
//! byte 1     who comes, and in its upper bits whether the owner, and other members, still hold their locks
//! then, per change: a byte says which list of offsets, two bytes which of it, a byte what kind of value, eight bytes
//! ```
//!
//! Whoever comes uses the mailbox through the public API with deadlines of a millisecond at most. Each call is timed. (A
//! machine that stands still is no hang: a thread that only sleeps notes by how much it wakes too late, and
//! a call is forgiven as much.) libFuzzer's own time limit tells what never comes back.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tubepost::{Call, CallError, Delivery, Domain, Error, Mailbox, Message, Receiver, Sender};

const SHORT: Duration = Duration::from_micros(200);
const PAGE: usize = 4096;
/// What a call may take; a sanitizer makes it several times slower.
const SLACK: Duration = Duration::from_secs(2);

/// A real mailbox's file: its pages that are not empty, how long it is, and where words are that mean something.
struct Image {
    pages: Vec<(u64, Vec<u8>)>,
    length: u64,
    words: Vec<u64>,
}

struct Stage {
    domain: Domain,
}

fuzz_target!(|input: &[u8]| {
    let [mode, who, changes @ ..] = input else { return };
    let images = images();
    let stage = Stage::new();
    let which = usize::from(mode % 16);
    let file = match images.get(which) {
        Some(image) => image.put(&stage.path(), changes),
        None => raw(&stage.path(), changes),
    };
    if who & 0x80 != 0 {
        lock(&file, 1);
    }
    if who & 0x40 != 0 {
        (2..5).for_each(|row| lock(&file, row));
    }
    let who = &(who & 0x3f);
    match which {
        3 | 11 => stage.all::<u64>(*who),
        4 => stage.all::<[u64; 1024]>(*who),
        5 => stage.all::<str>(*who),
        6 | 9 | 12 => stage.all::<Call<[u8], [u8]>>(*who),
        _ => stage.all::<[u8]>(*who),
    }
});

fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let stage = Stage::new();
        let domain = &stage.domain;
        vec![
            Image::of::<[u8]>(domain, true, Some(7), Some(10_000)),
            Image::of::<[u8]>(domain, false, Some(7), Some(10_000)),
            Image::of::<[u8]>(domain, false, Some(1), Some(100)),
            Image::of::<u64>(domain, true, Some(1), None),
            Image::of::<[u64; 1024]>(domain, false, Some(3), None),
            Image::of::<str>(domain, true, Some(5), Some(50)),
            Image::of::<Call<[u8], [u8]>>(domain, false, Some(7), Some(10_000)),
            Image::of::<[u8]>(domain, false, Some(0), Some(10_000)),
            Image::of::<[u8]>(domain, true, Some(0), Some(100)),
            Image::of::<Call<[u8], [u8]>>(domain, false, Some(0), Some(10_000)),
            Image::of::<[u8]>(domain, false, None, Some(10_000)),
            Image::of::<u64>(domain, true, None, None),
            Image::of::<Call<[u8], [u8]>>(domain, true, None, Some(100)),
        ]
    })
}

/// As one who lives holds it: by a description of its own, until the file is closed.
fn lock(file: &File, byte: i64) {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the structure is ours for the length of the call.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(done, 0, "nobody else has the file");
}

/// All of the image, as long as it says that it is.
fn raw(path: &PathBuf, bytes: &[u8]) -> File {
    let file = fresh(path);
    let mut memory = vec![0; 8 * PAGE];
    memory[..bytes.len().min(8 * PAGE)].copy_from_slice(&bytes[..bytes.len().min(8 * PAGE)]);
    file.write_all_at(&memory, 0).expect("room for it");
    let length = u64::from_le_bytes(memory[0x10..0x18].try_into().expect("eight"));
    file.set_len(length.min(1 << 40)).expect("a hole takes no room");
    file
}

fn fresh(path: &PathBuf) -> File {
    let _ = fs::remove_file(path);
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path).expect("a fresh file")
}

/// What is sent here.
trait Goods: Message {
    fn send(out: &Sender<Self>, length: usize, patience: Option<Duration>) -> Result<(), Error>;

    /// Ends a message in hand.
    fn end(delivery: Delivery<Self>) -> Result<(), Error> {
        delivery.accept()
    }
}

/// A question, which nobody answers in time, unless rubbish does.
impl Goods for Call<[u8], [u8]> {
    fn send(out: &Sender<Self>, length: usize, patience: Option<Duration>) -> Result<(), Error> {
        let question = vec![7; length];
        match out.call_timeout(&question[..], patience.unwrap_or_default()) {
            Ok(_) | Err(CallError::Timeout(_) | CallError::Unanswered(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn end(question: Delivery<Self>) -> Result<(), Error> {
        let answer = vec![9; 3 * question.len()];
        let _ = question.is_awaited();
        question.reply(&answer[..])
    }
}

impl Goods for [u8] {
    fn send(out: &Sender<[u8]>, length: usize, patience: Option<Duration>) -> Result<(), Error> {
        let bytes = vec![7; length];
        match patience {
            Some(patience) => Ok(out.send_timeout(&bytes, patience)?),
            None => Ok(out.try_send(&bytes)?),
        }
    }
}

impl Goods for str {
    fn send(out: &Sender<str>, length: usize, patience: Option<Duration>) -> Result<(), Error> {
        let text = "x".repeat(length);
        match patience {
            Some(patience) => Ok(out.send_timeout(&text, patience)?),
            None => Ok(out.try_send(&text)?),
        }
    }
}

macro_rules! plain_goods {
    ($plain:ty, $value:expr) => {
        impl Goods for $plain {
            fn send(out: &Sender<$plain>, _: usize, patience: Option<Duration>) -> Result<(), Error> {
                match patience {
                    Some(patience) => Ok(out.send_timeout($value, patience)?),
                    None => Ok(out.try_send($value)?),
                }
            }
        }
    };
}

plain_goods!(u64, 7);
plain_goods!([u64; 1024], [7; 1024]);

impl Image {
    /// Of a mailbox with messages that wait, in hand and given back, in line and in chunks; without a capacity in
    /// segments of two.
    fn of<M: Goods + ?Sized>(
        domain: &Domain,
        owned: bool,
        capacity: Option<u64>,
        longest: Option<u64>,
    ) -> Image {
        let options = Mailbox::<M>::options().domain(domain).member("owner").ceiling(1 << 20);
        let mut options = match capacity {
            Some(capacity) => options.bounded(capacity),
            None => options.unbounded().segments_of(2),
        };
        if let Some(longest) = longest {
            options = options.max_message(longest);
        }
        let path = domain.path().join("box");
        let inbox = if owned {
            options.own("box").expect("a free name")
        } else {
            options.create("box").expect("a free name");
            Receiver::<M>::options().domain(domain).open("box").expect("it exists")
        };
        let out = Sender::<M>::options().domain(domain).member("sender").open("box").expect("it exists");
        let mut held = Vec::new();
        for length in [11, 3000, 12, 9000, 5, 300] {
            let length = length.min(longest.unwrap_or(0) as usize);
            for _ in 0..2 {
                let _ = M::send(&out, length, None);
            }
            held.extend(inbox.try_take().ok());
        }
        held.pop();
        // As it is now, for a process that dies now leaves it so.
        let bytes = fs::read(&path).expect("it lies there");
        drop((held, out, inbox));
        let _ = fs::remove_file(&path);
        let is_something = |at: &u64| bytes[*at as usize..*at as usize + 8].iter().any(|byte| *byte != 0);
        let pages: Vec<(u64, Vec<u8>)> = bytes
            .chunks(PAGE)
            .enumerate()
            // Up to the rows, and their first page, it is memory, be it empty.
            .filter(|(at, page)| *at < 4 || page.iter().any(|byte| *byte != 0))
            .map(|(at, page)| ((at * PAGE) as u64, page.to_vec()))
            .collect();
        let words = pages.iter().flat_map(|(at, page)| (*at..at + page.len() as u64).step_by(8));
        let words = words.filter(|at| *at < 0x2C8 || is_something(at)).collect();
        Image { pages, length: bytes.len() as u64, words }
    }

    /// Writes it down, changed.
    fn put(&self, path: &PathBuf, changes: &[u8]) -> File {
        let file = fresh(path);
        file.set_len(self.length).expect("a hole takes no room");
        for (at, page) in &self.pages {
            file.write_all_at(page, *at).expect("room for it");
        }
        for change in changes.chunks_exact(12) {
            let number = u64::from(u16::from_le_bytes([change[1], change[2]]));
            let (kind, value) = (change[3], u64::from_le_bytes(change[4..].try_into().expect("eight")));
            let at = match change[0] % 4 {
                0 => self.words[number as usize % self.words.len()],
                1 => number * 8 % 0x2C8,
                2 => number * 8 % self.length,
                _ => self.pages[number as usize % self.pages.len()].0 + value % PAGE as u64 & !7,
            };
            let mut now = [0; 8];
            file.read_exact_at(&mut now, at).expect("within the file");
            let now = u64::from_le_bytes(now);
            let new = match kind % 8 {
                0 => value,
                1 => now ^ 1 << (value % 64),
                2 => now.wrapping_add(value),
                3 => now ^ value,
                4 => now.wrapping_add(value % 16).wrapping_sub(8),
                5 => u64::MAX - value % 16,
                6 => now & !0xffff | value % 8,
                _ => now ^ (value % 8) << 16,
            };
            file.write_all_at(&new.to_le_bytes(), at).expect("within the file");
        }
        file
    }
}

/// How often the thread that only sleeps did, and by how many microseconds it woke too late in all.
static BEATS: AtomicU64 = AtomicU64::new(0);
static LATE: AtomicU64 = AtomicU64::new(0);
const BEAT: Duration = Duration::from_millis(20);

fn beat() {
    loop {
        let begin = Instant::now();
        std::thread::sleep(BEAT);
        LATE.fetch_add(begin.elapsed().saturating_sub(2 * BEAT).as_micros() as u64, Relaxed);
        BEATS.fetch_add(1, Relaxed);
    }
}

fn timely<R>(what: &str, act: impl FnOnce() -> R) -> R {
    static BEATING: Once = Once::new();
    BEATING.call_once(|| drop(std::thread::spawn(beat)));
    let late = Duration::from_micros(LATE.load(Relaxed));
    let begin = Instant::now();
    let done = act();
    let took = begin.elapsed();
    if took > SLACK {
        // The beat that is not over yet counts as well.
        let beats = BEATS.load(Relaxed);
        while BEATS.load(Relaxed) < beats + 2 {
            std::thread::sleep(BEAT);
        }
        let forgiven = Duration::from_micros(LATE.load(Relaxed)) - late;
        assert!(took < SLACK + forgiven, "{what} took {took:?}");
    }
    done
}

/// What is wrong can be said, whatever it is.
fn fine<T>(result: Result<T, impl Into<Error>>) -> Option<T> {
    result.map_err(|error| assert!(!error.into().to_string().is_empty())).ok()
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.domain.path());
    }
}

impl Stage {
    fn new() -> Stage {
        let path = format!("/dev/shm/tubepost-fuzz-{}", std::process::id());
        let _ = fs::remove_dir_all(&path);
        Stage { domain: Domain::open(&path).expect("a domain of our own") }
    }

    fn path(&self) -> PathBuf {
        self.domain.path().join("box")
    }

    /// Everybody who may come, in an order that begins with this one.
    fn all<M: Goods + ?Sized>(&self, who: u8) {
        for step in 0..3 {
            match (who / 7 * step + who) % 7 {
                0 => self.send::<M>(),
                1 => self.receive::<M>(),
                2 => self.look(),
                3 => timely("gc", || drop(fine(self.domain.gc()))),
                4 => timely("remove", || {
                    fine(self.domain.remove("box"));
                }),
                5 => self.own::<M>(),
                _ => self.both::<M>(),
            }
        }
    }

    fn look(&self) {
        timely("stat", || fine(self.domain.stat("box")));
        timely("list", || fine(self.domain.list()));
    }

    fn sender<M: Goods + ?Sized>(&self) -> Option<Sender<M>> {
        timely("open", || fine(Sender::<M>::options().domain(&self.domain).member("late").open("box")))
    }

    fn receiver<M: Goods + ?Sized>(&self) -> Option<Receiver<M>> {
        timely("open", || fine(Receiver::<M>::options().domain(&self.domain).member("late").open("box")))
    }

    fn send<M: Goods + ?Sized>(&self) {
        let Some(out) = self.sender::<M>() else { return };
        use_sender(&out);
    }

    fn receive<M: Goods + ?Sized>(&self) {
        let Some(inbox) = self.receiver::<M>() else { return };
        use_receiver(&inbox);
    }

    /// A mailbox of a process is taken over: what comes then is as good as new.
    fn own<M: Goods + ?Sized>(&self) {
        let options = Mailbox::<M>::options().domain(&self.domain).bounded(2);
        let Some(inbox) = timely("own", || fine(options.own("box"))) else { return };
        let out = self.sender::<M>().expect("it is new");
        M::send(&out, 1, None).expect("a free place");
        assert!(inbox.try_recv().is_ok(), "a message waits");
    }

    fn both<M: Goods + ?Sized>(&self) {
        let (out, inbox) = (self.sender::<M>(), self.receiver::<M>());
        for _ in 0..2 {
            if let Some(out) = &out {
                use_sender(out);
            }
            if let Some(inbox) = &inbox {
                use_receiver(inbox);
            }
        }
    }
}

fn use_sender<M: Goods + ?Sized>(out: &Sender<M>) {
    for length in [0, 5, 240, 241, 3000, 9000, 20_000] {
        timely("try_send", || fine(M::send(out, length, None)));
    }
    timely("send_timeout", || fine(M::send(out, 3000, Some(SHORT))));
    timely("sender", || (out.len(), out.is_full(), out.is_empty(), out.is_closed(), fine(out.stat())));
    timely("closed", || fine(out.closed_timeout(SHORT)));
}

fn use_receiver<M: Goods + ?Sized>(inbox: &Receiver<M>) {
    timely("receiver", || (inbox.len(), inbox.is_empty(), inbox.is_full()));
    timely("try_recv", || fine(inbox.try_recv_envelope()));
    let mut held: Vec<_> = (0..3).filter_map(|_| timely("try_take", || fine(inbox.try_take()))).collect();
    timely("try_recv", || fine(inbox.try_recv()));
    timely("take", || drop(fine(inbox.take_timeout(SHORT))));
    timely("stat", || fine(inbox.stat()));
    if let Some(delivery) = held.pop() {
        timely("end", || fine(M::end(delivery)));
    }
    timely("give back", || drop(held));
    timely("try_iter", || inbox.try_iter().take(10).count());
    timely("recv", || fine(inbox.recv_timeout(SHORT)));
}
