//! Rubbish in a mailbox that the system owns: in its ledger of takes, in what slots say of chunks, in what is
//! said of each chunk, in ceilings and counts; before it is opened, and while it is in use. Errors with a type, or
//! rubbish messages; no panic, no signal, no hang, and no harm to the mailbox next to it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use tubepost::{Delivery, Domain, Error, Mailbox, Receiver, Sender, TryRecvError};

use crate::citizen::{kind, pattern};
use crate::stage::{Child, Cue, Dice, Place, Role};

pub const ROLES: &[Role] = &[("victim", victim)];

const SHORT: Duration = Duration::from_millis(1);
const PAGE: usize = 4096;
/// Words of the header that say what it is and how large everything is (docs/format.md).
const IDENTITY: [u64; 7] = [0x00, 0x08, 0x10, 0x28, 0x30, 0x38, 0x58];

fn options(domain: &Domain) -> tubepost::Options<[u8]> {
    Mailbox::options().domain(domain).bounded(7).max_message(10_000).ceiling(1 << 20).format("label")
}

fn sender(domain: &Domain) -> Result<Sender<[u8]>, Error> {
    Sender::options().domain(domain).format("label").open("box")
}

fn receiver(domain: &Domain) -> Result<Receiver<[u8]>, Error> {
    Receiver::options().domain(domain).format("label").open("box")
}

/// Does with the mailbox what it is told, and says in one line what came of it; the argument is the domain.
fn victim(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let mut kept = None;
    loop {
        match cue.hear().as_str() {
            // As one who comes to it.
            "probe" => {
                let said = [
                    format!("stat {}", word(domain.stat("box"))),
                    format!("receiver {}", word(receiver(&domain).map(|it| use_receiver(&it)))),
                    format!("sender {}", word(sender(&domain).map(|it| use_sender(&it)))),
                    format!("gc {}", word(domain.gc())),
                    format!("receiver {}", word(receiver(&domain).map(|it| use_receiver(&it)))),
                    format!("create {}", word(options(&domain).create("box"))),
                    format!("remove {}", word(domain.remove("box"))),
                    format!("neighbour {}", word(domain.stat("neighbour"))),
                ];
                cue.say(said.join(", "));
            }
            // Everything that is there, at once, as it should be.
            "collect" => {
                let inbox = receiver(&domain).expect("it is as it should be");
                let took = |_| inbox.recv_envelope_timeout(Duration::from_millis(100)).ok();
                let said = |it: tubepost::Envelope<[u8]>| {
                    assert!(it.message == pattern(it.message.len()), "torn");
                    format!("{}x{}", it.message.len(), it.redelivered)
                };
                let mut all: Vec<String> = (0..20).map_while(took).map(said).collect();
                all.sort();
                cue.say(all.join(" "));
            }
            // As one who is in before.
            "attach" => {
                options(&domain).create("box").expect("a free name");
                kept = Some(furnish(&domain));
                cue.say("attached");
            }
            "use" => {
                if let Some(kept) = &mut kept {
                    use_sender(&kept.0);
                    use_receiver(&kept.1);
                    if let Some(delivery) = kept.2.pop() {
                        let _ = word(delivery.accept());
                    }
                }
                cue.say("used");
            }
            "leave" => {
                kept = None;
                let _ = word(domain.remove("box"));
                let neighbour = domain.stat("neighbour").map(|it| it.depth);
                cue.say(neighbour.map_or_else(|error| kind(&error), |depth| depth.to_string()));
            }
            other => panic!("what is {other}?"),
        }
    }
}

fn word<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|error| kind(&error), |_| "ok".into())
}

fn use_sender(out: &Sender<[u8]>) {
    for length in [0, 5, 240, 241, 3000, 9000, 20_000] {
        let _ = out.try_send(&pattern(length)).map_err(Error::from).map_err(|it| kind(&it));
    }
    let _ = (out.send_timeout(&pattern(3000), SHORT), out.len(), out.is_full(), out.is_closed(), out.stat());
}

fn use_receiver(inbox: &Receiver<[u8]>) {
    let mut small = [0; 3];
    let _ = (inbox.len(), inbox.is_empty(), inbox.is_full());
    let _ = (inbox.try_recv_into(&mut small[..]), inbox.try_recv_envelope().map(|it| it.sender.name.len()));
    let held: Vec<Delivery<[u8]>> = (0..2).filter_map(|_| inbox.try_take().ok()).collect();
    let _ = (inbox.try_recv(), inbox.take_timeout(SHORT).map(drop), inbox.stat());
    for (at, it) in held.into_iter().enumerate() {
        if at == 0 {
            let _ = it.accept().map_err(|error| kind(&error));
        } // the other goes back
    }
    let _ = (inbox.try_iter().take(10).count(), inbox.recv_timeout(SHORT), inbox.stat());
}

type Ends = (Sender<[u8]>, Receiver<[u8]>, Vec<Delivery<[u8]>>);

/// Messages of all kinds in all states: in line and in chunks, waiting, in hand, given back.
fn furnish(domain: &Domain) -> Ends {
    let out = sender(domain).expect("it exists");
    let inbox = receiver(domain).expect("it exists");
    let send = |length| out.try_send(&pattern(length)).expect("a free place");
    [11, 3000, 12, 9000].into_iter().for_each(send);
    let mut held: Vec<_> = (0..4).map(|_| inbox.try_take().expect("a message")).collect();
    drop(held.drain(2..));
    [13, 5000, 14, 300].into_iter().for_each(send);
    (out, inbox, held)
}

/// The pages of a mailbox that are not empty, and how long its file is.
#[derive(Clone)]
struct Image {
    pages: Vec<(u64, Vec<u8>)>,
    length: u64,
}

impl Image {
    /// A mailbox whose users died all at once.
    fn taken() -> Image {
        let place = Place::new();
        options(place.domain()).create("box").expect("a free name");
        let _ends = furnish(place.domain());
        let bytes = fs::read(place.file("box")).expect("it lies there");
        // Up to the rows, and their first page, it is memory, be it empty.
        let reserved = (0x400 + 64 + 2 * 64 + 7 * 256_usize).next_multiple_of(PAGE) + PAGE;
        let page = |(at, page): (usize, &[u8])| {
            let at = at * PAGE;
            (at < reserved || page.iter().any(|it| *it != 0)).then(|| (at as u64, page.to_vec()))
        };
        let pages = bytes.chunks(PAGE).enumerate().filter_map(page).collect();
        Image { pages, length: bytes.len() as u64 }
    }

    fn put(&self, place: &Place, changed: Option<(u64, u64)>) {
        let path = place.file("box");
        let _ = fs::remove_file(&path);
        let file = File::options().write(true).create_new(true).mode(0o600).open(path).expect("a fresh file");
        file.set_len(self.length).expect("a hole takes no room");
        self.pages.iter().for_each(|(at, page)| file.write_all_at(page, *at).expect("room for it"));
        if let Some((at, value)) = changed {
            file.write_all_at(&value.to_le_bytes(), at).expect("within the file");
        }
    }

    /// Where words are that mean something: all of the header, and elsewhere those that are not zero. Payloads
    /// mean nothing.
    fn words(&self) -> Vec<(u64, u64)> {
        let of_page = |(start, page): &(u64, Vec<u8>)| {
            let words: Vec<(u64, u64)> = (*start..)
                .step_by(8)
                .zip(page.as_chunks::<8>().0.iter().map(|it| u64::from_le_bytes(*it)))
                .filter(|(at, value)| *at < 0x240 || *value != 0)
                .collect();
            // A page full of words is payload.
            if words.len() > 300 { Vec::new() } else { words }
        };
        self.pages.iter().flat_map(of_page).collect()
    }
}

fn hear(child: &mut Child, what: &str) -> String {
    match child.hear_or_end() {
        Ok(said) => said,
        Err(None) => panic!("{what}: the victim hangs"),
        Err(Some(status)) => panic!("{what}: the victim ended by {status}"),
    }
}

#[test]
fn rubbish_where_the_system_owns() {
    let place = Place::new();
    options(place.domain()).create("neighbour").expect("a free name");
    let image = Image::taken();
    let words = image.words();
    assert!((100..1000).contains(&words.len()), "{} words", words.len());
    let mut victim = Child::start("victim", &[&place.arg()]);
    // As it is, first: what those had who are dead now comes again, and nothing is lost.
    image.put(&place, None);
    let all = "11x1 12x1 13x0 14x0 3000x1 300x0 5000x0 9000x1";
    assert_eq!(victim.ask("collect"), all);
    let mut probed = 0;
    for (at, value) in words {
        let mut values = vec![0, u64::MAX, value.wrapping_add(1), value.rotate_left(32)];
        if (0x180..0x240).contains(&at) || at >= PAGE as u64 {
            values.extend([value ^ 1 << 16, value ^ 7 << 16]);
        }
        values.sort_unstable();
        values.dedup();
        for new in values.into_iter().filter(|new| *new != value) {
            let what = format!("{new:#x} at {at:#x} instead of {value:#x}");
            image.put(&place, Some((at, new)));
            victim.say("probe");
            let said = hear(&mut victim, &what);
            assert!(said.ends_with("neighbour ok"), "{what}: {said}");
            // What the numbers then say is not what the file is.
            if IDENTITY.contains(&at) && [0, u64::MAX].contains(&new) {
                assert!(!said.contains("sender ok") && !said.contains("receiver ok"), "{what}: {said}");
                assert!(!said.contains("remove ok") && place.file("box").exists(), "{what}: {said}");
            }
            probed += 1;
        }
    }
    println!("{probed} images probed");
    assert!(probed > 700, "{probed} images");
    image.put(&place, None);
    assert_eq!(victim.ask("collect"), all);
}

/// The same while it is in use, in several places at once.
#[test]
fn meddling_with_what_the_system_owns() {
    const ROUNDS: u64 = 150;
    let place = Place::new();
    options(place.domain()).create("neighbour").expect("a free name");
    let words = Image::taken().words();
    let mut victim = Child::start("victim", &[&place.arg()]);
    let mut late = Child::start("victim", &[&place.arg()]);
    for seed in 0..ROUNDS {
        let what = format!("seed {seed}");
        let mut dice = Dice::new(seed);
        victim.say("attach");
        assert_eq!(hear(&mut victim, &what), "attached", "{what}");
        let file = File::options().read(true).write(true).open(place.file("box")).expect("it lies there");
        for _ in 0..2 {
            for _ in 0..=dice.below(6) {
                let (at, _) = words[dice.below(words.len() as u64) as usize];
                let mut now = [0; 8];
                file.read_exact_at(&mut now, at).expect("within the file");
                let now = u64::from_le_bytes(now);
                let new = match dice.below(6) {
                    0 => now ^ 1 << dice.below(64),
                    1 => [0, u64::MAX, 1 << 63, u64::from(u32::MAX), 1][dice.below(5) as usize],
                    2 => dice.roll(),
                    3 => now.wrapping_add(1),
                    4 => now.wrapping_sub(1),
                    _ => now ^ 7 << 16,
                };
                file.write_all_at(&new.to_le_bytes(), at).expect("within the file");
            }
            // Both at the same time.
            victim.say("use");
            late.say("probe");
            assert_eq!(hear(&mut victim, &what), "used");
            assert!(hear(&mut late, &what).ends_with("neighbour ok"), "{what}");
        }
        victim.say("leave");
        assert_eq!(hear(&mut victim, &what), "0", "{what}");
        let _ = fs::remove_file(place.file("box"));
    }
}

/// The entry of a message in hand said that it was longer than any message may be, but no longer than its chunk's memory.
/// Given back it came again so long: with bytes at its end that nobody had sent, and past what a
/// receiver may rely on.
#[test]
fn longer_than_the_longest_in_hand() {
    let place = Place::new();
    options(place.domain()).create("box").expect("a free name");
    let (out, inbox) =
        (sender(place.domain()).expect("it exists"), receiver(place.domain()).expect("it exists"));
    out.try_send(&pattern(9000)).expect("a free place");
    let delivery = inbox.try_take().expect("a message");
    let bytes = fs::read(place.file("box")).expect("it lies there");
    let lengths = bytes.as_chunks::<8>().0.iter().enumerate();
    let lengths: Vec<usize> =
        lengths.filter(|(_, it)| u64::from_le_bytes(**it) == 9000).map(|(at, _)| 8 * at).collect();
    let [at] = lengths[..] else { panic!("the length stands in {lengths:x?}") };
    let file = File::options().write(true).open(place.file("box")).expect("it lies there");
    file.write_all_at(&12_000_u64.to_le_bytes(), at as u64).expect("within the file");
    drop(delivery);
    match inbox.try_recv() {
        Err(TryRecvError::Failed(Error::Damaged { .. })) => {}
        other => panic!("{:?} bytes", other.map(|it| it.len())),
    }
    // It is gone, and its memory serves the next ones.
    out.try_send(&pattern(9000)).expect("a free place");
    assert_eq!(inbox.try_recv(), Ok(pattern(9000)));
}
