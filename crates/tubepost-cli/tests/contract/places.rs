//! Where things are: domains, names, and what others may have planted there.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use crate::scene::{Running, Scene, bare, plant};

#[test]
fn bad_names_are_usage() {
    let scene = Scene::new();
    let long = "n".repeat(256);
    let names =
        ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a b", "a\n", "ä", "a,b", "a*", &long];
    for name in names {
        scene.run(&["send", "--", name, "x"]).code(2).prints("").complains(&["is not a name"]);
        scene.run(&["recv", "--own", "--", name]).code(2).prints("").complains(&["is not a name"]);
        scene.run(&["recv", "--", name]).code(2).prints("").complains(&["is not a name"]);
        scene.run(&["create", "--", name]).code(2).prints("").complains(&["is not a name"]);
        scene.run(&["create", "--if-missing", "--", name]).code(2).prints("");
        scene.run(&["rm", "--", name]).code(2).prints("").complains(&["is not a name"]);
        scene.run(&["rm", "--force", "--", name]).code(2).prints("");
        scene.run(&["stat", "--", name]).code(2).prints("").complains(&["is not a name"]);
    }
    assert!(scene.files().is_empty());
    // Not even text.
    use std::os::unix::ffi::OsStringExt;
    let mut command = scene.command(&["stat"]);
    command.arg(std::ffi::OsString::from_vec(b"\xff".to_vec()));
    Running::start(&mut command).end().code(2);
}

#[test]
fn good_names_are_good() {
    let scene = Scene::new();
    let long = "n".repeat(255);
    for name in ["a", ".hidden", "x..y", "A_1/b.c/d-e", &long] {
        let owner = scene.own(name, &["--count", "1"]);
        scene.run(&["send", name, "x"]).code(0);
        owner.end().code(0).prints("x\n");
    }
}

#[test]
fn what_does_not_exist_is_4() {
    let scene = Scene::new();
    scene.run(&["send", "nobody", "x"]).code(4).prints("").complains(&["nobody", "tubepost ls"]);
    scene.feed(&["send", "nobody"], b"x\n").code(4);
    scene.run(&["stat", "nobody"]).code(4).prints("").complains(&["nobody"]);
    scene.run(&["stat", "nobody", "--json"]).code(4).prints("");
    scene.run(&["recv", "nobody"]).code(4).prints("").complains(&["nobody"]);
    scene.run(&["recv", "nobody", "--ack", "--format", "x"]).code(4).prints("").complains(&["nobody"]);
    scene.run(&["rm", "nobody"]).code(4).prints("").complains(&["nobody"]);
    scene.run(&["rm", "nobody", "--force"]).code(4).prints("").complains(&["nobody"]);
}

#[test]
fn the_domain_is_chosen_by_option_then_by_environment() {
    let (here, there) = (Scene::new(), Scene::new());
    let path = here.domain.to_str().expect("text");
    // The environment says there, the option says here.
    let owner = there.start(&["--domain", path, "recv", "jobs", "--own", "--count", "1"]);
    crate::scene::until("it exists", || here.find("jobs").is_some());
    assert!(there.list().is_empty());
    there.run(&["send", "jobs", "x"]).code(4);
    there.run(&["send", "jobs", "x", "--domain", path]).code(0);
    owner.end().code(0).prints("x\n");
}

#[test]
fn a_domain_is_made_for_its_user_alone() {
    let scene = Scene::new();
    let path = scene.domain.join("new");
    let domain = path.to_str().expect("text");
    scene.run(&["--domain", domain, "ls"]).code(0);
    assert_eq!(std::fs::metadata(&path).expect("it was made").permissions().mode() & 0o7777, 0o700);

    // By a name, beside the default one.
    let name = format!("test.{}", std::process::id());
    let uid = rustix::process::geteuid().as_raw();
    let path = PathBuf::from(format!("/dev/shm/tubepost-{uid}.{name}"));
    let ended = Running::start(bare(&["ls"]).env("TUBEPOST_DOMAIN", &name)).end();
    let made = path.is_dir();
    let _ = std::fs::remove_dir(&path);
    ended.code(0);
    assert!(made, "{} was made", path.display());
}

#[test]
fn a_domain_with_a_bad_name_is_usage() {
    let scene = Scene::new();
    for name in ["", "a b", "..", "a\tb"] {
        scene.run(&["ls", "--domain", name]).code(2).prints("").complains(&["is not a name"]);
    }
}

#[test]
fn a_domain_that_others_could_use_is_refused() {
    let scene = Scene::new();
    let _owner = scene.own("jobs", &[]);
    for mode in [0o777, 0o1777, 0o750, 0o707] {
        std::fs::set_permissions(&scene.domain, PermissionsExt::from_mode(mode)).expect("it is ours");
        for args in
            [&["ls"][..], &["send", "jobs", "x"], &["recv", "more", "--own"], &["create", "more"], &["gc"]]
        {
            // Those of one like /tmp are as they should be.
            let advice = if mode == 0o1777 { "directory of its own" } else { "chmod 700" };
            scene.run(args).code(1).prints("").complains(&[advice]);
        }
    }
    std::fs::set_permissions(&scene.domain, PermissionsExt::from_mode(0o700)).expect("it is ours");
    scene.run(&["send", "jobs", "x"]).code(0);
}

#[test]
fn somebody_elses_directory_is_refused() {
    let scene = Scene::new();
    // Whoever runs this: it belongs to another user, or everybody may write to it.
    scene
        .run(&["--domain", "/dev/shm", "ls"])
        .code(1)
        .prints("")
        .complains(&["/dev/shm cannot be used as a domain"]);
    scene.run(&["--domain", "/dev/shm", "send", "jobs", "x"]).code(1);
    scene.run(&["--domain", "/proc/1/nowhere", "ls"]).code(1);
}

#[test]
fn a_domain_that_is_no_directory_is_refused() {
    let scene = Scene::new();
    let (file, link) = (scene.domain.join("file"), scene.domain.join("link"));
    plant(&file, b"x");
    let elsewhere = Scene::new();
    symlink(&elsewhere.domain, &link).expect("a link");
    for path in [&file, &link] {
        let domain = path.to_str().expect("text");
        scene.run(&["--domain", domain, "recv", "jobs", "--own", "--no-wait"]).code(1).complains(&[domain]);
    }
    let slashed = format!("{}/", link.display());
    scene.run(&["--domain", &slashed, "recv", "jobs", "--own", "--no-wait"]).code(1);
    let deep = format!("{}/no/such", scene.domain.display());
    scene.run(&["--domain", &deep, "ls"]).code(1).complains(&["no/such"]);
    assert!(elsewhere.files().is_empty(), "nobody went through the link");
}

#[test]
fn planted_links_are_not_followed() {
    let scene = Scene::new();
    let elsewhere = Scene::new();
    let target = elsewhere.domain.join("precious");
    plant(&target, b"precious");
    symlink(&target, scene.domain.join("jobs")).expect("a link");
    symlink("/nowhere", scene.domain.join("dangling")).expect("a link");
    // A link to a real mailbox elsewhere is no mailbox here.
    let _real = elsewhere.own("real", &[]);
    symlink(elsewhere.domain.join("real"), scene.domain.join("real")).expect("a link");
    for name in ["jobs", "dangling", "real"] {
        scene.run(&["send", name, "x"]).code(1).prints("").complains(&[name]);
        scene.run(&["recv", name, "--own", "--no-wait"]).code(1).prints("").complains(&[name]);
        scene.run(&["stat", name]).code(1).prints("").complains(&[name]);
    }
    let listing = scene.run(&["ls", "--json"]).code(0);
    assert_eq!(listing.json(), serde_json::json!([]));
    assert_eq!(listing.complaint().lines().count(), 3, "{}", listing.complaint());
    scene.run(&["gc"]).code(0);
    assert_eq!(std::fs::read(&target).expect("still there"), b"precious");
    assert_eq!(elsewhere.find("real").expect("still there")["sent"], 0);
}

#[test]
fn other_planted_things_are_refused() {
    let scene = Scene::new();
    std::fs::create_dir(scene.domain.join("directory")).expect("a directory");
    let status =
        std::process::Command::new("mkfifo").arg(scene.domain.join("fifo")).status().expect("mkfifo");
    assert!(status.success());
    for name in ["directory", "fifo"] {
        scene.run(&["send", name, "x"]).code(1).prints("").complains(&[name]);
        scene.run(&["recv", name, "--own", "--no-wait"]).code(1).prints("").complains(&[name]);
        scene.run(&["create", name, "--if-missing"]).code(1).prints("").complains(&[name]);
        scene.run(&["rm", name, "--force"]).code(1).prints("").complains(&[name]);
    }
    scene.run(&["gc"]).code(0);
    assert!(scene.domain.join("directory").is_dir());
}
