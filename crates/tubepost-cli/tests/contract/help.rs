//! Help, version, completions and man pages.

use crate::scene::{Running, Scene, bare};

/// What `region` has.
const OF_REGION: [&str; 6] = ["create", "write", "read", "watch", "repair", "hold"];

/// What `journal` has.
const OF_JOURNAL: [&str; 3] = ["verify", "dump", "repair"];

const VERBS: [&str; 19] = [
    "demo",
    "send",
    "recv",
    "call",
    "serve",
    "run",
    "link",
    "inbox",
    "journal",
    "tell",
    "create",
    "region",
    "rm",
    "ls",
    "stat",
    "gc",
    "bench",
    "completions",
    "man",
];

#[test]
fn every_verb_has_help_with_examples() {
    let help = Running::start(&mut bare(&["--help"])).end().code(0).quietly().text();
    for verb in VERBS {
        assert!(help.contains(verb), "{verb} is not in the help");
        let own = Running::start(&mut bare(&[verb, "--help"])).end().code(0).quietly().text();
        assert!(own.contains("Example") && own.contains(&format!("tubepost {verb}")), "{verb}: {own}");
        let width = own.lines().map(|line| line.chars().count()).max();
        assert!(width <= Some(110), "{verb}'s help is {width:?} wide");
    }
    for verb in OF_REGION {
        let own = Running::start(&mut bare(&["region", verb, "--help"])).end().code(0).quietly().text();
        assert!(own.contains("Example") && own.contains(&format!("tubepost region {verb}")), "{verb}: {own}");
    }
    assert!(help.contains("Exit codes") && help.contains("--domain"));
}

#[test]
fn the_version_is_the_packages() {
    let expected = format!("tubepost {}\n", env!("CARGO_PKG_VERSION"));
    Running::start(&mut bare(&["--version"])).end().code(0).prints(expected);
}

#[test]
fn completions_know_the_verbs_and_only_those() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = Running::start(&mut bare(&["completions", shell])).end().code(0).quietly().text();
        for verb in VERBS {
            assert!(text.contains(verb), "{shell}: {verb}");
        }
        assert!(!text.contains("bench-far") && !text.contains("demo-part"), "{shell} completes hidden verbs");
    }
    Running::start(&mut bare(&["completions", "tcsh"])).end().code(2);
}

#[test]
fn there_is_a_man_page_for_each_verb() {
    let main = Running::start(&mut bare(&["man"])).end().code(0).quietly().text();
    assert!(main.contains(".TH") && main.contains("recv"));
    let scene = Scene::new();
    let directory = scene.domain.join("man1");
    scene.run(&["man", directory.to_str().expect("text")]).code(0).prints("");
    let mut pages: Vec<_> = std::fs::read_dir(&directory)
        .expect("the directory was made")
        .map(|entry| entry.expect("a page").file_name().into_string().expect("text"))
        .collect();
    pages.sort_unstable();
    let mut expected: Vec<_> = VERBS.iter().map(|verb| format!("tubepost-{verb}.1")).collect();
    expected.extend(OF_REGION.iter().map(|verb| format!("tubepost-region-{verb}.1")));
    expected.extend(OF_JOURNAL.iter().map(|verb| format!("tubepost-journal-{verb}.1")));
    expected.push("tubepost.1".to_string());
    expected.sort_unstable();
    assert_eq!(pages, expected);
    let page = std::fs::read_to_string(directory.join("tubepost-send.1")).expect("a page");
    assert!(page.contains("NUL") && page.contains("Examples"), "{page}");
}
