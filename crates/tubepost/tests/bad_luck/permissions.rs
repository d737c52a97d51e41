//! Several users of one machine: what a mailbox's mode lets others do, what a shared domain lets them do to
//! each other's names, and what a stranger may have put where ours should be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use tubepost::Domain;

use crate::citizen::dialogue;
use crate::stage::{Child, Place, is_root, skip};

/// Users and groups that need no entry anywhere: the kernel knows numbers only.
pub const ANN: u32 = 41_001;
pub const BEN: u32 = 41_002;
pub const EVE: u32 = 41_003;
pub const GROUP: u32 = 41_100;
pub const NO_GROUP: u32 = 41_200;

/// A directory with this owner, group and mode, gone when the test is.
pub struct Directory(PathBuf);

impl Directory {
    fn new(owner: u32, group: u32, mode: u32) -> Directory {
        Directory::at(Place::unused(), owner, group, mode)
    }

    fn at(path: PathBuf, owner: u32, group: u32, mode: u32) -> Directory {
        fs::create_dir(&path).expect("fresh");
        chown(&path, Some(owner), Some(group)).expect("root may");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("root may");
        Directory(path)
    }

    /// A domain as the documentation says that a group shares one.
    pub fn shared() -> Directory {
        Directory::shared_by(GROUP)
    }

    /// The same of this group.
    pub fn shared_by(group: u32) -> Directory {
        Directory::new(0, group, 0o3770)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn domain(&self) -> Domain {
        Domain::open(&self.0).expect("ours")
    }

    fn user(&self, user: u32, group: u32) -> Child {
        self.start("citizen", user, group)
    }

    /// Somebody who plays this role there, as this user of this group.
    pub fn start(&self, role: &str, user: u32, group: u32) -> Child {
        let path = self.0.to_str().expect("our own path");
        Child::start(role, &[path, &user.to_string(), &group.to_string()])
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether these tests can run.
pub fn users(test: &str) -> bool {
    if !is_root() {
        skip(test, "needs root, to become several users");
    }
    is_root()
}

#[test]
fn a_mode_keeps_sending_and_receiving_apart() {
    if !users("a_mode_keeps_sending_and_receiving_apart") {
        return;
    }
    let domain = Directory::shared();
    let (mut ann, mut ben) = (domain.user(ANN, GROUP), domain.user(BEN, GROUP));
    let verdict = |may: bool| if may { "ok" } else { "Denied" };
    for (mode, sends, receives, file_mode) in [
        ("600", false, false, 0o600),
        ("620", true, false, 0o660),
        ("640", false, true, 0o660),
        ("660", true, true, 0o660),
    ] {
        assert_eq!(ann.ask(format!("create box {mode} 4")), "ok");
        let file = fs::metadata(domain.0.join("box")).expect("it was made");
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (file_mode, ANN, GROUP), "{mode}");
        dialogue(&mut ann, &[("sender box", "ok"), ("receiver box", "ok"), ("send box 0 from-ann", "ok")]);
        dialogue(&mut ben, &[("sender box", verdict(sends)), ("receiver box", verdict(receives))]);
        if receives {
            // What Ben had when he died is Ann's, who has another uid.
            let mut other = domain.user(BEN, GROUP);
            dialogue(&mut other, &[("receiver box", "ok"), ("take box 0", "ok from-ann 0")]);
            ann.say("recv box 5000");
            other.kill();
            assert_eq!(ann.hear(), "ok from-ann 1");
        } else {
            dialogue(&mut ann, &[("recv box 0", "ok from-ann 0")]);
        }
        if sends {
            dialogue(&mut ben, &[("send box 0 *100000", "ok")]);
            dialogue(&mut ann, &[("recv box 0", "ok *100000 0")]);
        }
        // Who is in no group of it cannot even look.
        let mut eve = domain.user(EVE, NO_GROUP);
        dialogue(
            &mut eve,
            &[("domain", "Denied"), ("sender box", "Denied"), ("create other 666 4", "Denied")],
        );
        dialogue(&mut ann, &[("remove box", "ok 0"), ("drop box", "ok")]);
        ben.ask("drop box");
    }
    // A mailbox that a process owns: the same for its senders.
    dialogue(&mut ann, &[("own mine 620 4", "ok")]);
    dialogue(&mut ben, &[("sender mine", "ok"), ("send mine 0 x", "ok"), ("receiver mine", "Denied")]);
    dialogue(&mut ann, &[("recv mine 0", "ok x 0"), ("drop mine", "ok"), ("own mine 600 4", "ok")]);
    dialogue(&mut ben, &[("sender mine", "Denied"), ("send mine 0 x", "Closed 0")]);
    // A group one is not in can't be given anything.
    dialogue(&mut ann, &[(&format!("create far 660 4 {NO_GROUP}"), "Denied"), ("stat far", "NoSuchName")]);
}

/// In a shared domain everybody's names are their own.
#[test]
fn nobody_takes_away_anothers_name() {
    if !users("nobody_takes_away_anothers_name") {
        return;
    }
    let domain = Directory::shared();
    let (mut ann, mut ben) = (domain.user(ANN, GROUP), domain.user(BEN, GROUP));
    dialogue(&mut ann, &[("create box 660 4", "ok"), ("create shut 600 4", "ok"), ("own mine 660 4", "ok")]);
    dialogue(&mut ann, &[("sender box", "ok"), ("receiver box", "ok"), ("send box 0 kept", "ok")]);
    dialogue(
        &mut ben,
        &[
            ("create bens 660 4", "ok"),
            ("remove box", "Denied"),
            ("take-away box", "Denied"),
            ("remove shut", "Denied"),
            ("remove mine", "Owned"),
            ("take-away mine", "Denied"),
            ("create box 660 4", "Exists"),
            ("own box 660 4", "Exists"),
            ("own mine 660 4", "Owned"),
            ("create shut 660 4", "Denied"),
            ("gc", "removed ; left shut Denied"),
            ("list", "bens 0 0; box 1 0; mine 0 0; shut Denied"),
            ("sender mine", "ok"),
            ("send mine 0 hello", "ok"),
        ],
    );
    assert!(ben.ask("why box").contains("ask its owner"));
    // And all that was harmless.
    dialogue(
        &mut ann,
        &[("recv box 0", "ok kept 0"), ("send box 0 more", "ok"), ("recv mine 0", "ok hello 0")],
    );
    // One's own, and root everything.
    dialogue(&mut ann, &[("remove box", "ok 1"), ("remove bens", "Denied")]);
    let mut root = domain.user(0, 0);
    dialogue(&mut root, &[("remove bens", "ok 0"), ("take-away mine", "ok 0"), ("remove shut", "ok 0")]);
    dialogue(&mut ann, &[("recv mine 1000", "Closed 0"), ("list", "")]);
}

/// A name that another's dead owner left: nobody sends into the void, and it says whose it is to remove.
#[test]
fn what_another_users_dead_owner_left() {
    if !users("what_another_users_dead_owner_left") {
        return;
    }
    let domain = Directory::shared();
    let mut ben = domain.user(BEN, GROUP);
    for mode in ["660", "600"] {
        let mut ann = domain.user(ANN, GROUP);
        assert_eq!(ann.ask(format!("own box {mode} 4")), "ok");
        if mode == "660" {
            dialogue(&mut ben, &[("sender box", "ok"), ("send box 0 lost", "ok")]);
        }
        ann.kill();
        if mode == "660" {
            dialogue(
                &mut ben,
                &[
                    ("closed box 5000", "closed 1"),
                    ("send box 0 more", "Closed 1"),
                    ("sender box", "OwnerGone"),
                    ("gc", "removed ; left box Denied"),
                ],
            );
        }
        dialogue(&mut ben, &[("own box 660 4", "Denied"), ("create box 660 4", "Denied")]);
        assert!(ben.ask("why box").contains("ask its owner"));
        // Those who may take it over, do: Ann's next process, or root's gc.
        if mode == "660" {
            dialogue(&mut domain.user(ANN, GROUP), &[("own box 660 4", "ok"), ("remove box", "Owned")]);
        }
        dialogue(&mut domain.user(0, 0), &[("gc", "removed box"), ("list", "")]);
        dialogue(&mut ben, &[("own box 660 4", "ok"), ("drop box", "ok")]);
    }
}

/// Where the user's own domain should be, somebody else was faster.
#[test]
fn a_squatted_default_domain_is_refused() {
    if !users("a_squatted_default_domain_is_refused") {
        return;
    }
    const VICTIM: u32 = 41_007;
    let (default, named) =
        (PathBuf::from(format!("/dev/shm/tubepost-{VICTIM}")), format!("/dev/shm/tubepost-{VICTIM}.work"));
    let mut victim = Child::start("citizen", &["/nowhere", &VICTIM.to_string(), &VICTIM.to_string()]);
    let refused = |victim: &mut Child, how: &str| {
        for line in ["default", "named work"] {
            assert_eq!(victim.ask(line), "DomainRefused", "{line} where {how}");
        }
    };
    for (group, mode) in
        [(EVE, 0o700), (EVE, 0o777), (EVE, 0o1777), (VICTIM, 0o3770), (VICTIM, 0o1770), (VICTIM, 0o770)]
    {
        let (_one, _two) = (
            Directory::at(default.clone(), EVE, group, mode),
            Directory::at(named.clone().into(), EVE, group, mode),
        );
        if mode == 0o700 {
            // Not even to be opened.
            for line in ["default", "named work"] {
                assert!(matches!(victim.ask(line).as_str(), "Denied" | "DomainRefused"));
            }
        } else {
            refused(&mut victim, &format!("Eve made a directory of mode {mode:o}"));
        }
    }
    // A link of hers, even to something of the victim's.
    let own = Directory::new(VICTIM, VICTIM, 0o700);
    for target in [own.0.as_path(), Path::new("/nowhere"), Path::new("/dev/shm")] {
        symlink(target, &default).and_then(|()| symlink(target, &named)).expect("fresh");
        refused(&mut victim, &format!("Eve made a link to {}", target.display()));
        fs::remove_file(&default).and_then(|()| fs::remove_file(&named)).expect("our own");
    }
    // Nobody was faster: it is made, and private.
    dialogue(&mut victim, &[("default", "ok"), ("named work", "ok")]);
    for path in [default, named.into()] {
        let facts = fs::metadata(&path).expect("it was made");
        assert_eq!((facts.uid(), facts.mode() & 0o7777), (VICTIM, 0o700));
        fs::remove_dir(&path).expect("root may");
    }
}

/// What is shared on purpose, for a group, and what is only loose.
#[test]
fn modes_of_domains() {
    if !users("modes_of_domains") {
        return;
    }
    for (owner, mode, ann, ben) in [
        (0, 0o3770, "ok", "ok"),
        (0, 0o1770, "ok", "ok"),
        (ANN, 0o3770, "ok", "ok"),
        (0, 0o2770, "DomainRefused", "DomainRefused"),
        (0, 0o770, "DomainRefused", "DomainRefused"),
        (0, 0o750, "DomainRefused", "DomainRefused"),
        (ANN, 0o770, "DomainRefused", "DomainRefused"),
        (ANN, 0o700, "ok", "Denied"),
        (0, 0o1777, "DomainRefused", "DomainRefused"),
        (0, 0o3777, "DomainRefused", "DomainRefused"),
        (ANN, 0o707, "DomainRefused", "Denied"),
    ] {
        let domain = Directory::new(owner, GROUP, mode);
        assert_eq!(domain.user(ANN, GROUP).ask("domain"), ann, "Ann, {owner} {mode:o}");
        assert_eq!(domain.user(BEN, GROUP).ask("domain"), ben, "Ben, {owner} {mode:o}");
    }
    // The group may use what is there, and make nothing.
    let domain = Directory::new(ANN, GROUP, 0o3750);
    let (mut ann, mut ben) = (domain.user(ANN, GROUP), domain.user(BEN, GROUP));
    dialogue(&mut ann, &[("create box 620 4", "ok"), ("receiver box", "ok")]);
    dialogue(&mut ben, &[("create other 660 4", "Denied"), ("sender box", "ok"), ("send box 0 hi", "ok")]);
    dialogue(&mut ann, &[("recv box 0", "ok hi 0")]);
    // What one made there while one could, one can't remove any more, and it goes on.
    fs::set_permissions(&domain.0, Permissions::from_mode(0o3770)).expect("root may");
    dialogue(&mut ben, &[("create bens 660 4", "ok"), ("sender bens", "ok")]);
    fs::set_permissions(&domain.0, Permissions::from_mode(0o3750)).expect("root may");
    dialogue(&mut ben, &[("remove bens", "Denied"), ("send bens 0 on", "ok")]);
}
