//! Ten thousand mailboxes in one domain. What each thing takes is printed: `cargo test --release --test bad_luck
//! crowd -- --nocapture`.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use tubepost::{Mailbox, Receiver, Sender};

use crate::stage::Place;

const MANY: u32 = 10_000;
/// Nothing that is done to all of them may take longer, on a slow machine and unoptimised.
const SLOW: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_mailboxes() {
    let place = Place::new();
    let domain = place.domain();
    let name = |at: u32| format!("crowd/{at:05}");
    let timed = |what: &str, each: u32, act: &mut dyn FnMut()| {
        let begin = Instant::now();
        act();
        let took = begin.elapsed();
        println!(
            "{what}: {:.0} ms, {:.1} µs each",
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e6 / f64::from(each)
        );
        assert!(took < SLOW, "{what} took {took:?}");
    };
    let options = Mailbox::<u64>::options().domain(domain).bounded(16);
    timed("create", MANY, &mut || {
        for at in 0..MANY {
            options.create(&name(at)).expect("a free name");
        }
    });
    let mut bytes = 0;
    timed("list", MANY, &mut || {
        let listed = domain.list().expect("our own");
        assert_eq!(listed.len(), MANY as usize);
        for (at, it) in (0..).zip(&listed) {
            assert_eq!(it.name, name(at));
            bytes += it.stat.as_ref().expect("it is fine").bytes;
        }
    });
    let directory = std::fs::metadata(place.path()).expect("it is there").blocks() * 512;
    println!("memory: {} bytes each, the directory itself {directory}", bytes / u64::from(MANY));
    assert!(bytes / u64::from(MANY) <= 16 << 10);
    timed("gc with nothing to do", MANY, &mut || {
        let swept = domain.gc().expect("our own");
        assert!(swept.removed.is_empty() && swept.left_alone.is_empty() && swept.rows == 0, "{swept:?}");
    });
    timed("stat of one", 1, &mut || assert_eq!(domain.stat(&name(7)).expect("it is there").depth, 0));
    timed("open, send, receive, close", MANY, &mut || {
        for at in 0..MANY {
            let out = Sender::<u64>::options().domain(domain).open(&name(at)).expect("it exists");
            let inbox = Receiver::<u64>::options().domain(domain).open(&name(at)).expect("it exists");
            out.try_send(at.into()).expect("a free place");
            assert_eq!(inbox.try_recv(), Ok(at.into()));
        }
    });
    let mut all: Vec<Sender<u64>> = Vec::new();
    timed("open, and keep", MANY, &mut || {
        let open = |at| Sender::<u64>::options().domain(domain).open(&name(at)).expect("it exists");
        all.extend((0..MANY).map(open));
    });
    all.iter().for_each(|out| out.try_send(7).expect("a free place"));
    timed("close", MANY, &mut || all.clear());
    timed("remove", MANY, &mut || {
        (0..MANY).for_each(|at| assert_eq!(domain.remove(&name(at)).expect("ours").uncollected, 1));
    });
    assert!(place.files().is_empty());
}
