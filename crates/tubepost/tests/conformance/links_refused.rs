//! What can't be had of links and processes: refused at once, with the reason; what lives is not removed.

use std::time::{Duration, Instant};

use tubepost::{Error, Link, LinkOptions, Process, SendError, Strategy};

use crate::stage::{Child, PATIENCE, Place};

fn join(place: &Place, name: &str) -> Process {
    Process::options().domain(place.domain()).join(name).expect("a free name in a fresh domain")
}

fn start(place: &Place, name: &str) -> Child {
    let mut child = Child::start("peer", &[&place.arg(), name]);
    child.expect("joined");
    child
}

fn of(strategy: Strategy) -> LinkOptions<u64> {
    Link::options().strategy(strategy)
}

/// As long as one waits for somebody whom one could not have a link with.
const AN_HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_can_never_be_is_not_waited_for() {
    let place = Place::new();
    let alice = join(&place, "alice");
    let long = "x".repeat(65);
    let begin = Instant::now();
    for (options, peer) in [
        (of(Strategy::Sealed), "nobody"),
        (of(Strategy::Kernel).unbounded(), "nobody"),
        (of(Strategy::Kernel).bounded(1 << 17), "nobody"),
        (of(Strategy::Shared).bounded(1 << 25), "nobody"),
        (of(Strategy::Shared), &long),
        (of(Strategy::Shared), "not a name"),
        (of(Strategy::Shared), "alice"),
    ] {
        let refused = options.connect(&alice, peer, AN_HOUR).map(drop);
        assert!(
            matches!(refused, Err(Error::BadOption { .. } | Error::BadName { .. })),
            "{peer}: {refused:?}"
        );
    }
    assert!(begin.elapsed() < PATIENCE);
    assert!(matches!(alice.monitor(&long), Err(Error::BadName { .. })));
}

#[test]
fn who_has_not_joined_is_called_a_process() {
    let place = Place::new();
    let alice = join(&place, "alice");
    let Err(error @ Error::NoSuchName { wanted: "a process", .. }) = alice.link::<u64>("bob").map(drop)
    else {
        panic!("he is not there")
    };
    let text = error.to_string();
    assert!(text.contains("join") && !text.contains("create"), "{text}");
    let error = place.domain().stat("bob~alice").expect_err("nothing is").to_string();
    assert!(error.contains("no link"), "{error}");
}

#[test]
fn the_names_and_links_of_the_living_can_not_be_removed() {
    for strategy in [Strategy::Shared, Strategy::Kernel] {
        let place = Place::new();
        let alice = join(&place, "alice");
        let mut bob = start(&place, "bob");
        let link = of(strategy).open(&alice, "bob").expect("he is there");
        let (domain, pid) = (place.domain(), bob.pid());
        for removed in [domain.remove("bob"), domain.remove_owned("bob")] {
            assert!(matches!(&removed, Err(Error::Joined { pid: of, .. }) if *of == pid), "{removed:?}");
        }
        for removed in [domain.remove("alice~bob"), domain.remove_owned("alice~bob")] {
            let is_bobs = |receiver: &str, of| (receiver, of) == ("bob", pid);
            assert!(
                matches!(&removed, Err(Error::Linked { receiver, pid, .. }) if is_bobs(receiver, *pid)),
                "{removed:?}"
            );
        }
        // And that did no harm.
        assert_eq!(bob.ask("link alice"), "linked");
        link.send(7).expect("there is room");
        bob.kill();
        assert_eq!(domain.remove("alice~bob").map(|closed| closed.uncollected), Ok(1));
        assert_eq!(domain.remove("bob").map(|closed| closed.uncollected), Ok(0));
        assert!(matches!(link.send(8), Err(SendError::Closed(8, closed)) if closed.uncollected == 1));
        assert!(matches!(domain.remove("bob"), Err(Error::NoSuchName { .. })));
    }
}

/// Who stopped sending is told nothing else than who goes on.
#[test]
fn what_was_never_collected_is_told_also_to_who_stopped_sending() {
    for strategy in [Strategy::Shared, Strategy::Kernel] {
        for dies in [true, false] {
            let place = Place::new();
            let alice = join(&place, "alice");
            let mut bob = start(&place, "bob");
            let link = of(strategy).open(&alice, "bob").expect("he is there");
            assert_eq!(bob.ask("link alice"), "linked");
            (0..3).try_for_each(|number| link.send(number)).expect("there is room");
            link.stop_sending().expect("it is ours");
            let told = |link: &Link<u64>| {
                link.sender().closed_timeout(Duration::ZERO).map(|it| it.map(|it| it.uncollected))
            };
            assert_eq!(told(&link), Ok(Some(0)), "he may receive them yet");
            if dies {
                bob.kill();
            } else {
                bob.ask("leave");
            }
            assert!(link.receiver().recv_timeout(PATIENCE).is_err_and(|error| error.is_closed()));
            assert_eq!(told(&link), Ok(Some(3)));
            assert!(matches!(link.send(4), Err(SendError::Closed(4, closed)) if closed.uncollected == 3));
        }
    }
}
