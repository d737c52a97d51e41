//! Agreement and names: who opens a mailbox for other messages is refused and shown both sides; a name has
//! one owner, and when that one died exactly one of those who want it gets it.

use tubepost::{Domain, Error, Format, Mailbox, Message, Sender};

use crate::cast::start_owner;
use crate::rows::{ROWS, Row, on_every_row_of_a_process, on_every_row_of_a_process_with_room, open};
use crate::stage::{Child, Cue, Place, Role, now_ns, spin_for};

pub const ROLES: &[Role] = &[("heir", heir)];

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Reading {
    sensor: u32,
    celsius: f32,
}

/// Types that differ from `Reading` in one thing each, with its name where that is the same.
mod others {
    macro_rules! other {
        ($module:ident, $type:ident, $repr:meta, { $($field:ident: $kind:ty),* }) => {
            pub mod $module {
                #[derive(tubepost::Message, Clone, Copy)]
                #[$repr]
                pub struct $type {
                    $(pub $field: $kind,)*
                }
            }
        };
    }
    other!(name, Other, repr(C), { sensor: u32, celsius: f32 });
    other!(field_name, Reading, repr(C), { probe: u32, celsius: f32 });
    other!(field_type, Reading, repr(C), { sensor: u32, celsius: u32 });
    other!(field_order, Reading, repr(C), { celsius: f32, sensor: u32 });
    other!(more, Reading, repr(C), { sensor: u32, celsius: f32, at: u64 });
    other!(fewer, Reading, repr(C), { sensor: u32 });
    other!(alignment, Reading, repr(C, align(8)), { sensor: u32, celsius: f32 });
}

#[track_caller]
fn refused<T: Message + ?Sized>(domain: &Domain, label: Option<&str>) {
    let mut options = Sender::<T>::options().domain(domain);
    if let Some(label) = label {
        options = options.format(label);
    }
    match options.open("box") {
        Err(error @ Error::WrongFormat { .. }) => {
            let text = error.to_string();
            let Error::WrongFormat { name, theirs, ours } = error else { unreachable!() };
            assert_eq!(name, "box");
            assert_ne!(theirs, ours, "the two sides look the same");
            assert!(text.contains(&theirs.to_string()) && text.contains(&ours.to_string()), "{text}");
        }
        other => panic!("not refused: {:?}", other.map(|_| ())),
    }
}

#[test]
fn every_mismatch_of_types_is_shown() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let _inbox = row.own::<Reading>(&place, "box");
        open::<Reading>(&place, "box");
        refused::<others::name::Other>(place.domain(), None);
        refused::<others::field_name::Reading>(place.domain(), None);
        refused::<others::field_type::Reading>(place.domain(), None);
        refused::<others::field_order::Reading>(place.domain(), None);
        refused::<others::more::Reading>(place.domain(), None);
        refused::<others::fewer::Reading>(place.domain(), None);
        refused::<others::alignment::Reading>(place.domain(), None);
        refused::<u64>(place.domain(), None);
        refused::<[u8]>(place.domain(), None);
        refused::<str>(place.domain(), None);
    });
}

#[test]
fn every_mismatch_of_labels_is_shown() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let inbox = row.options::<[u8]>(place.domain()).format("csv").own("box").expect("a free name");
        assert!(Sender::<[u8]>::options().domain(place.domain()).format("csv").open("box").is_ok());
        refused::<[u8]>(place.domain(), None);
        refused::<[u8]>(place.domain(), Some(""));
        refused::<[u8]>(place.domain(), Some("json"));
        refused::<[u8]>(place.domain(), Some("csv "));
        refused::<[u8]>(place.domain(), Some("CSV"));
        refused::<str>(place.domain(), None);
        refused::<Reading>(place.domain(), None);
        drop(inbox);
        let inbox = row.own::<[u8]>(&place, "box");
        assert!(Sender::<[u8]>::options().domain(place.domain()).format("").open("box").is_ok());
        refused::<[u8]>(place.domain(), Some("csv"));
        drop(inbox);
        let _inbox = row.own::<str>(&place, "box");
        assert!(Sender::<str>::options().domain(place.domain()).format("str").open("box").is_ok());
        refused::<[u8]>(place.domain(), None);
        refused::<str>(place.domain(), Some("other"));
        refused::<Reading>(place.domain(), None);
    });
}

/// The same declaration elsewhere is the same format: size, alignment and fields count, not the module.
#[test]
fn the_same_format_is_recognised() {
    mod elsewhere {
        #[derive(tubepost::Message, Clone, Copy)]
        #[repr(C)]
        pub struct Reading {
            pub sensor: u32,
            pub celsius: f32,
        }
    }
    let place = Place::new();
    let _inbox = ROWS[0].own::<Reading>(&place, "box");
    open::<elsewhere::Reading>(&place, "box");
    assert_eq!(Format::of::<Reading>().to_string(), Format::of::<elsewhere::Reading>().to_string());
    assert!(Format::of::<Reading>().to_string().contains("Reading"));
}

#[test]
fn nobody_there() {
    let place = Place::new();
    match Sender::<u64>::options().domain(place.domain()).open("nobody/there") {
        Err(error @ Error::NoSuchName { .. }) => {
            assert!(error.to_string().contains("nobody/there"), "{error}")
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    match place.domain().stat("nobody/there") {
        Err(Error::NoSuchName { name, .. }) => assert_eq!(name, "nobody/there"),
        other => panic!("{other:?}"),
    }
    assert!(!place.file("nobody/there").exists(), "looking makes nothing");
}

#[test]
fn a_dead_owner_is_named_as_such() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        owner.kill();
        match Sender::<u64>::options().domain(place.domain()).open("box") {
            Err(Error::OwnerGone { name, pid }) => assert_eq!((name.as_str(), pid), ("box", owner.pid())),
            other => panic!("{:?}", other.map(|_| ())),
        }
        // One that left in order left nothing.
        let inbox = row.own::<u64>(&place, "box");
        inbox.close().expect("its own mailbox");
        assert!(!place.file("box").exists(), "closed and still there");
        match Sender::<u64>::options().domain(place.domain()).open("box") {
            Err(Error::NoSuchName { .. }) => {}
            other => panic!("{:?}", other.map(|_| ())),
        }
    });
}

#[test]
fn a_name_has_one_owner() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let owner = start_owner(&place, "box", row);
        let error = row.options::<u64>(place.domain()).own("box").expect_err("it is taken");
        assert!(matches!(error, Error::Owned { .. }), "{error}");
        assert!(error.to_string().contains(&owner.pid().to_string()), "{error} names {}", owner.pid());
        // From the same process too, and for any other type.
        let _mine = row.own::<u64>(&place, "mine");
        for error in [
            row.options::<u64>(place.domain()).own("mine").map(|_| ()).expect_err("it is taken"),
            Mailbox::<str>::options()
                .domain(place.domain())
                .own("mine")
                .map(|_| ())
                .expect_err("it is taken"),
        ] {
            assert!(matches!(error, Error::Owned { .. }), "{error}");
        }
    });
}

/// Waits for the moment given, then tries to own the name; the arguments are domain, name, row.
fn heir(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    cue.say("ready");
    let moment: u64 = cue.hear().parse().expect("a time");
    while now_ns() < moment {
        std::hint::spin_loop();
    }
    let owned = Row::of(cue, 2).options::<u64>(&domain).own(cue.arg(1));
    cue.say(match &owned {
        Ok(_) => "won".to_owned(),
        Err(error @ Error::Owned { .. }) => format!("exists: {error}"),
        Err(error) => format!("failed: {error}"),
    });
    // Keeps it until it is killed.
    cue.hear();
}

/// Four processes want the name of a dead one at the same moment. Each winner is killed in turn.
#[test]
fn exactly_one_takes_over() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        start_owner(&place, "box", row).kill();
        for round in 0..6 {
            let mut heirs: Vec<Child> =
                (0..4).map(|_| Child::start("heir", &[&place.arg(), "box", &row.arg()])).collect();
            heirs.iter_mut().for_each(|heir| heir.expect("ready"));
            let moment = now_ns() + 2_000_000;
            heirs.iter_mut().for_each(|heir| heir.say(moment));
            let said: Vec<String> = heirs.iter_mut().map(Child::hear).collect();
            let winners: Vec<usize> = (0..4).filter(|at| said[*at] == "won").collect();
            assert_eq!(winners.len(), 1, "round {round}: {said:?}");
            let winner = heirs[winners[0]].pid();
            for line in said.iter().filter(|line| *line != "won") {
                assert!(
                    line.starts_with("exists: ") && line.contains(&winner.to_string()),
                    "{line} names {winner}"
                );
            }
            // It is a real mailbox.
            open::<u64>(&place, "box").try_send(1).expect("a free place");
            spin_for(std::time::Duration::from_micros(round * 50));
        }
    });
}
