//! Rubbish where a mailbox should be, before anybody opens it and while it is in use: errors, whatever the
//! bytes are. All probing happens in processes of its own, so that a panic, a signal or a hang has a culprit.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use tubepost::{Domain, Error, Mailbox, Receiver, Sender};

use crate::stage::{Child, Cue, Dice, Place, Role};

pub const ROLES: &[Role] = &[("prober", prober), ("landlord", landlord), ("tenant", tenant)];

/// Where the header keeps its first fields (docs/format.md).
const MAGIC: &[u8; 8] = b"tubepost";
const VERSION_AT: u64 = 8;
const TOTAL_AT: usize = 16;

const SHORT: Duration = Duration::from_millis(1);

/// Tries everything on the name that it is told, and says in one line what came of it.
fn prober(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    loop {
        let name = cue.hear();
        let mut said = vec![format!("stat {}", word(domain.stat(name.as_str())))];
        let listed = domain.list().expect("the domain itself is fine");
        said.push(format!("listed {}", listed.iter().any(|it| it.name == name)));
        for _ in 0..2 {
            let opened = Sender::<[u8]>::options().domain(&domain).format("label").open(name.as_str());
            if let Ok(out) = &opened {
                use_sender(out);
            }
            said.push(format!("open {}", word(opened)));
            let opened = Sender::<u64>::options().domain(&domain).open(name.as_str());
            if let Ok(out) = &opened {
                let _ = (out.try_send(1), out.send_timeout(2, SHORT), out.stat());
            }
            said.push(format!("open u64 {}", word(opened)));
            let owned = Mailbox::<[u8]>::options().domain(&domain).bounded(3).own(name.as_str());
            if let Ok(inbox) = &owned {
                // Taken over: it must be as good as new.
                let out = Sender::<[u8]>::options().domain(&domain).open(name.as_str()).expect("it exists");
                (0..3).for_each(|at| out.try_send(&[at]).expect("a free place"));
                (0..3).for_each(|at| assert_eq!(inbox.try_recv(), Ok(vec![at])));
            }
            said.push(format!("own {}", word(owned)));
            said.push(format!("gc {}", word(domain.gc())));
        }
        cue.say(said.join(", "));
    }
}

fn use_sender(out: &Sender<[u8]>) {
    let _ = (out.try_send(b"short"), out.try_send(&[7; 4096]), out.try_send(&[7; 5000]));
    let _ = (out.send_timeout(b"short", SHORT), out.send_deadline(b"", std::time::Instant::now()));
    let _ = (
        out.len(),
        out.capacity(),
        out.is_empty(),
        out.is_full(),
        out.is_closed(),
        out.id(),
        out.name().len(),
    );
    let _ = (out.closed_timeout(SHORT), out.stat());
    let copy = out.clone();
    let _ = copy.try_send(b"");
}

fn use_receiver(inbox: &Receiver<[u8]>) {
    let mut small = [0; 3];
    let mut vector = Vec::new();
    for _ in 0..10 {
        let _ = (inbox.try_recv(), inbox.try_recv_envelope().map(|it| it.sender.name.len()));
        let _ = (inbox.try_recv_into(&mut small[..]), inbox.try_recv_into(&mut vector));
    }
    let _ = (inbox.recv_timeout(SHORT), inbox.recv_envelope_timeout(SHORT).map(|it| it.seq));
    let _ = inbox.try_iter().take(100).count();
    let _ =
        (inbox.len(), inbox.capacity(), inbox.is_empty(), inbox.is_full(), inbox.id(), inbox.name().len());
    let _ = inbox.stat();
}

/// An error's kind, or that there was none.
fn word<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => {
            // Every error can be shown, also one about rubbish.
            assert!(!error.to_string().is_empty());
            match error {
                Error::Damaged { .. } => "damaged",
                Error::OwnerGone { .. } => "gone",
                Error::NoSuchName { .. } => "nothing",
                Error::WrongVersion { .. } => "version",
                Error::WrongFormat { .. } => "format",
                _ => "other",
            }
        }
    }
}

/// A file that may be a mailbox: its bytes, and how long it is with the hole that follows them.
#[derive(Clone)]
struct Image {
    what: String,
    bytes: Vec<u8>,
    length: u64,
    /// Whether it must be refused as no mailbox at all.
    hopeless: bool,
}

impl Image {
    /// This one, a little different.
    fn but(&self, what: String, change: impl FnOnce(&mut Vec<u8>)) -> Image {
        let mut image = Image { what, ..self.clone() };
        change(&mut image.bytes);
        image
    }

    fn hopeless(self, hopeless: bool) -> Image {
        Image { hopeless, ..self }
    }

    /// Puts it in the place of a mailbox, as a process of an unknown kind could have.
    fn put(&self, place: &Place) {
        let file = place.file("box");
        let _ = fs::remove_file(&file);
        let file = File::options().write(true).create_new(true).mode(0o600).open(file).expect("a fresh file");
        file.write_all_at(&self.bytes, 0).expect("room for it");
        file.set_len(self.length).expect("a hole takes no room");
    }
}

/// A real segment with messages in it.
fn real_image() -> Image {
    let place = Place::new();
    let inbox = Mailbox::<[u8]>::options()
        .domain(place.domain())
        .bounded(7)
        .max_message(100)
        .format("label")
        .own("box");
    let inbox = inbox.expect("a free name");
    let out =
        Sender::<[u8]>::options().domain(place.domain()).format("label").open("box").expect("it exists");
    for at in 0..10 {
        out.send(&[at; 60]).expect("it lives");
        if at < 5 {
            inbox.recv().expect("it was sent");
        }
    }
    let mut bytes = fs::read(place.file("box")).expect("it lies there");
    let length = bytes.len() as u64;
    assert_eq!(&bytes[..8], MAGIC, "docs/format.md: the magic");
    assert_eq!(u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes")), length, "the total size");
    // Without the hole at its end.
    let data = bytes.iter().rposition(|it| *it != 0).expect("it is not empty") + 1;
    bytes.truncate(data.next_multiple_of(4096));
    Image { what: "the real one".into(), bytes, length, hopeless: false }
}

fn cut(real: &Image) -> Vec<Image> {
    let data = real.bytes.len() as u64;
    let mut lengths: Vec<u64> =
        vec![0, 1, 7, 8, 9, 11, 12, 15, 16, 23, 24, 25, 31, 32, 63, 64, 65, 127, 128, 256, 511];
    let mut dice = Dice::new(1);
    lengths.extend((0..60).map(|_| dice.below(data)));
    lengths.extend([data - 4096, data - 64, data - 1, data, data + 1, real.length - 4096, real.length - 1]);
    let cut_to = |length: u64| {
        let image = real.but(format!("cut to {length}"), |bytes| bytes.truncate(length as usize));
        Image { length, ..image }.hopeless(true)
    };
    let mut images: Vec<Image> = lengths.into_iter().map(cut_to).collect();
    images.push(Image { length: real.length + 4096, ..real.but("too long".into(), |_| ()) }.hopeless(true));
    // As long as it should be, but nothing is behind it.
    for pages in 0..data / 4096 {
        let image =
            real.but(format!("{pages} pages and a hole"), |bytes| bytes.truncate(pages as usize * 4096));
        images.push(image.hopeless(true));
    }
    images
}

fn zeroed(real: &Image) -> Vec<Image> {
    let zeros = |length: u64| {
        let image =
            real.but(format!("{length} zeros"), |bytes| *bytes = vec![0; length.min(65_536) as usize]);
        Image { length, ..image }.hopeless(true)
    };
    let mut images: Vec<Image> = [1, 64, 4096, real.length].map(zeros).into();
    for start in (0..4096).step_by(64) {
        let image = real.but(format!("zeros at {start}"), |bytes| bytes[start..start + 64].fill(0));
        images.push(image.hopeless(start == 0));
    }
    images
}

fn random(real: &Image) -> Vec<Image> {
    (0..240)
        .map(|seed| {
            let mut dice = Dice::new(seed);
            let size = if seed % 3 == 0 { dice.below(20_000) as usize + 32 } else { real.bytes.len() };
            let length = if seed % 3 == 1 { real.length } else { size as u64 };
            let plausible = seed % 4 != 0;
            let image = real.but(format!("random bytes of seed {seed}"), |bytes| {
                let mut random = dice.bytes(size);
                if plausible {
                    // So that it gets past the first look.
                    random[..TOTAL_AT].copy_from_slice(&bytes[..TOTAL_AT]);
                    random[TOTAL_AT..TOTAL_AT + 8].copy_from_slice(&length.to_le_bytes());
                }
                *bytes = random;
            });
            Image { length, ..image }.hopeless(!plausible)
        })
        .collect()
}

fn flipped(real: &Image) -> Vec<Image> {
    (0..250)
        .map(|seed| {
            let mut dice = Dice::new(seed);
            real.but(format!("bits flipped by seed {seed}"), |bytes| {
                let reach = if seed % 2 == 0 { 512 } else { bytes.len() as u64 };
                for _ in 0..=dice.below(8) {
                    bytes[dice.below(reach) as usize] ^= 1 << dice.below(8);
                }
            })
        })
        .collect()
}

/// Every word of the header, with every value that is on an edge.
fn extreme(real: &Image) -> Vec<Image> {
    let mut images = Vec::new();
    for at in (0..384).step_by(8) {
        for value in [0, 1, 3, u64::from(u32::MAX), 1 << 32, i64::MAX as u64, u64::MAX, u64::MAX - 63] {
            let what = format!("{value:#x} at {at}");
            let image = real.but(what, |bytes| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes()));
            images.push(image.hopeless(at == 0));
        }
    }
    images
}

#[test]
fn rubbish_is_no_mailbox() {
    let place = Place::new();
    let real = real_image();
    let images = [cut(&real), zeroed(&real), random(&real), flipped(&real), extreme(&real)].concat();
    assert!(images.len() >= 500, "{} images", images.len());
    let mut prober = Child::start("prober", &[&place.arg()]);
    // The real one first: what a dead process left, swept by the first who opens it.
    real.put(&place);
    let said = prober.ask("box");
    assert!(said.starts_with("stat gone, listed true, open gone, open u64 nothing, own ok"), "{said}");
    for image in &images {
        let what = &image.what;
        image.put(&place);
        prober.say("box");
        let said = match prober.hear_or_end() {
            Ok(said) => said,
            Err(None) => panic!("{what}: the prober hangs"),
            Err(Some(status)) => panic!("{what}: the prober ended by {status}"),
        };
        assert!(said.contains("listed true"), "{what}: {said}");
        if image.hopeless {
            for good in ["stat ok", "stat gone", "open ok", "open u64 ok", "open gone", "own ok"] {
                assert!(!said.contains(good), "{what}: {said}");
            }
        }
    }
    println!("{} images of rubbish probed", images.len());
}

/// Owns a fresh mailbox when told so, uses it, closes it; the argument is the domain.
fn landlord(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    loop {
        assert_eq!(cue.hear(), "own");
        let inbox =
            Mailbox::<[u8]>::options().domain(&domain).bounded(7).max_message(100).format("label").own("box");
        let inbox = inbox.expect("a free name");
        cue.say("own");
        assert_eq!(cue.hear(), "use");
        use_receiver(&inbox);
        cue.say("used");
        if cue.hear() == "close" {
            let _ = inbox.close();
            use_receiver(&inbox);
        }
        drop(inbox);
        cue.say("gone");
    }
}

/// Opens the landlord's mailbox when told so, and uses it, beside a second sender that attaches each time.
fn tenant(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let open = || Sender::<[u8]>::options().domain(&domain).format("label").open("box");
    let mut out = None;
    loop {
        match cue.hear().as_str() {
            "open" => {
                let opened = open().expect("it exists");
                (0..5).for_each(|at| opened.try_send(&[at; 60]).expect("a free place"));
                out = Some(opened);
                cue.say("open");
            }
            _ => {
                use_sender(out.as_ref().expect("opened before"));
                if let Ok(late) = open() {
                    use_sender(&late);
                }
                let _ = (word(domain.stat("box")), domain.list());
                cue.say("used");
            }
        }
    }
}

/// A peer scribbles on a mailbox in use. The owner, a sender that is attached already and one that comes later
/// get whatever they get, but they return, and the next mailbox is a good one.
#[test]
fn scribbling_on_a_mailbox_in_use() {
    const ROUNDS: u64 = 200;
    let place = Place::new();
    let mut landlord = Child::start("landlord", &[&place.arg()]);
    let mut tenant = Child::start("tenant", &[&place.arg()]);
    let hear = |child: &mut Child, who: &str, seed: u64| match child.hear_or_end() {
        Ok(said) => said,
        Err(None) => panic!("seed {seed}: the {who} hangs"),
        Err(Some(status)) => panic!("seed {seed}: the {who} ended by {status}"),
    };
    for seed in 0..ROUNDS {
        landlord.say("own");
        assert_eq!(hear(&mut landlord, "owner", seed), "own", "seed {seed}");
        tenant.say("open");
        assert_eq!(hear(&mut tenant, "sender", seed), "open", "seed {seed}");
        scribble(&place, seed);
        // Both at the same time.
        landlord.say("use");
        tenant.say("use");
        hear(&mut landlord, "owner", seed);
        hear(&mut tenant, "sender", seed);
        // Both again, one after the other, the sender having seen what the owner made of it.
        scribble(&place, seed ^ 1 << 32);
        tenant.say("use");
        hear(&mut tenant, "sender", seed);
        landlord.say(if seed % 2 == 0 { "close" } else { "drop" });
        assert_eq!(hear(&mut landlord, "owner", seed), "gone", "seed {seed}");
        tenant.say("use");
        hear(&mut tenant, "sender", seed);
        // What could not be removed because it no longer looks like ours is the test's to remove.
        let _ = fs::remove_file(place.file("box"));
    }
}

/// Flips bits, overwrites words with extremes, or fills lines with noise; in the header, the ledgers and the slots.
fn scribble(place: &Place, seed: u64) {
    // Gone already, if the first scribbling said that it was over.
    let Ok(file) = File::options().read(true).write(true).open(place.file("box")) else { return };
    let length = file.metadata().expect("open").len();
    let mut dice = Dice::new(seed);
    for _ in 0..=dice.below(10) {
        // The rows for members to come lie in a hole behind all of this.
        let reach = [512, 1024, 4096, 16_384][dice.below(4) as usize].min(length);
        let mut at = dice.below(reach / 8) * 8;
        if dice.below(4) > 0 {
            // A word that is in use: most of the segment is not.
            let mut head = vec![0; 16_384.min(length as usize)];
            file.read_exact_at(&mut head, 0).expect("within the file");
            let used: Vec<usize> =
                (0..head.len() / 8).filter(|word| head[word * 8..word * 8 + 8] != [0; 8]).collect();
            at = used[dice.below(used.len() as u64) as usize] as u64 * 8;
        }
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at).expect("within the file");
        let value = u64::from_le_bytes(word);
        let value = match dice.below(6) {
            0 => value ^ 1 << dice.below(64),
            1 => [0, u64::MAX, 1 << 63, u64::from(u32::MAX), 1][dice.below(5) as usize],
            2 => dice.roll(),
            3 => value.wrapping_add(1),
            4 => value.wrapping_sub(1),
            _ => value.rotate_left(32),
        };
        file.write_all_at(&value.to_le_bytes(), at).expect("within the file");
    }
}

#[test]
fn another_version_is_refused_with_both_numbers() {
    let place = Place::new();
    let inbox = Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
    let _healthy = Mailbox::<u64>::options().domain(place.domain()).own("healthy").expect("a free name");
    let file = File::options().read(true).write(true).open(place.file("box")).expect("it lies there");
    let mut version = [0; 4];
    file.read_exact_at(&mut version, VERSION_AT).expect("a header");
    let ours = u32::from_le_bytes(version);
    for theirs in [0, ours + 1, 999, u32::MAX] {
        file.write_all_at(&theirs.to_le_bytes(), VERSION_AT).expect("a header");
        let refused = |result: Result<(), Error>| match result {
            Err(error @ Error::WrongVersion { found, supported, .. }) => {
                assert_eq!((found, supported), (theirs, ours));
                let text = error.to_string();
                assert!(text.contains(&theirs.to_string()) && text.contains(&ours.to_string()), "{text}");
            }
            other => panic!("version {theirs}: {other:?}"),
        };
        refused(Sender::<u64>::options().domain(place.domain()).open("box").map(|_| ()));
        refused(place.domain().stat("box").map(|_| ()));
        refused(Mailbox::<u64>::options().domain(place.domain()).own("box").map(|_| ()));
        let listed = place.domain().list().expect("our own");
        let healthy: Vec<(&str, bool)> =
            listed.iter().map(|it| (it.name.as_str(), it.stat.is_ok())).collect();
        assert!(healthy.contains(&("box", false)) && healthy.contains(&("healthy", true)), "{healthy:?}");
        let swept = place.domain().gc().expect("our own");
        assert!(
            swept.removed.is_empty(),
            "what another version made is not ours to remove: {:?}",
            swept.removed
        );
        assert!(swept.left_alone.iter().any(|(name, _)| name == "box"), "{:?}", swept.left_alone);
    }
    file.write_all_at(&ours.to_le_bytes(), VERSION_AT).expect("a header");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("as before");
    out.send(1).expect("it lives");
    assert_eq!(inbox.recv(), Ok(1));
}

#[test]
fn text_that_is_none_is_an_error() {
    // A sender of another make could publish any bytes as text; here the file is changed under a good one.
    let place = Place::new();
    let inbox = Mailbox::<str>::options().domain(place.domain()).bounded(3).own("box").expect("a free name");
    let out = Sender::<str>::options().domain(place.domain()).open("box").expect("it exists");
    out.send("find me in the file").expect("it lives");
    out.send("behind it").expect("it lives");
    let image = fs::read(place.file("box")).expect("it lies there");
    let at = image.windows(7).position(|it| it == b"find me").expect("it is in there as it is");
    let file = File::options().write(true).open(place.file("box")).expect("it lies there");
    file.write_all_at(&[0xff, 0xfe], at as u64).expect("within the file");
    match inbox.try_recv() {
        Err(tubepost::TryRecvError::Failed(Error::BadText)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(inbox.try_recv().as_deref(), Ok("behind it"), "the next is not held up");
}
