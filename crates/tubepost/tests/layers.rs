//! Rules about the source, as tests: imports point downwards, `unsafe` stays where it may be, files stay short.
//!
//! ```text
//! public types (the files of src/)
//!   → strategy/, holding/, domain/
//!     → queue/, versions/, journal/
//!       → sync/, memory/
//!         → os/
//! ```
//!
//! `error.rs`, `format.rs` and `peer.rs`, words for what went wrong, what was agreed on and who it was, are for everybody, and so is
//! `planted.rs`, which no build has but one that is broken on purpose. Whatever the crate's root re-exports counts as the module it comes from.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const LONGEST: usize = 600;
const UNSAFE_ALLOWED: [&str; 7] = ["os", "memory", "sync", "queue", "versions", "journal", "holding"];

/// How high a module stands; `None` is for everybody.
fn height(module: &str) -> Option<u32> {
    match module {
        "error" | "format" | "peer" | "planted" => None,
        "os" => Some(0),
        "sync" | "memory" => Some(1),
        "queue" | "versions" | "journal" => Some(2),
        "strategy" | "domain" | "holding" => Some(3),
        _ => Some(4),
    }
}

/// The top-level module that a file below src/ belongs to.
fn module_of(path: &Path) -> String {
    let first = path.components().next().expect("a file");
    Path::new(&first).with_extension("").to_str().expect("our own names").to_owned()
}

/// The source without what follows `//`, which no rule is about.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn is_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

/// Where `word` stands in `code` as a word of its own.
fn places_of<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(|it| is_word(it) || it == '$') && !after.is_some_and(is_word)
    })
}

/// The first names of everything that is said to be of `crate::`, in imports and in paths.
fn names_of_crate(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for at in places_of(code, "crate") {
        let Some(rest) = code[at + "crate".len()..].trim_start().strip_prefix("::") else { continue };
        let rest = rest.trim_start();
        if let Some(list) = rest.strip_prefix('{') {
            names.extend(first_names(list));
        } else {
            names.extend(first_name(rest));
        }
    }
    names
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|it| is_word(*it)).collect();
    (!name.is_empty()).then_some(name)
}

/// The first name of each entry of a list in braces that has just been opened.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut entry) = (0, Vec::new(), String::new());
    for it in list.chars() {
        match it {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(first_name(&std::mem::take(&mut entry))),
            _ if depth == 0 => entry.push(it),
            _ => {}
        }
    }
    names.extend(first_name(&entry));
    names
}

/// What the root re-exports, by name: `pub use domain::{Domain, …}` makes `crate::Domain` one of `domain`.
fn re_exports(lib: &str) -> HashMap<String, String> {
    let mut homes = HashMap::new();
    let lib = code(lib);
    for at in places_of(&lib, "use") {
        let path = lib[at + "use".len()..].split(';').next().unwrap_or("").trim();
        let path = path.strip_prefix("crate::").unwrap_or(path);
        let Some((home, names)) = path.split_once("::") else { continue };
        for name in names.split(|it: char| !is_word(it)).filter(|it| !it.is_empty()) {
            homes.insert(name.to_owned(), home.to_owned());
        }
    }
    homes
}

/// What is wrong with one file.
fn faults(path: &Path, text: &str, homes: &HashMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let (module, code) = (module_of(path), code(text));
    let lines = text.lines().count();
    if lines > LONGEST {
        faults.push(format!("{}: {lines} lines want to be two ideas", path.display()));
    }
    if places_of(&code, "unsafe").next().is_some() && !UNSAFE_ALLOWED.contains(&module.as_str()) {
        faults.push(format!("{}: `unsafe` outside {}", path.display(), UNSAFE_ALLOWED.join("/, ")));
    }
    if module != "lib" {
        for name in names_of_crate(&code) {
            let home = homes.get(&name).unwrap_or(&name);
            if let (Some(ours), Some(theirs)) = (height(&module), height(home))
                && theirs > ours
            {
                faults.push(format!("{}: crate::{name} of {home} is above {module}", path.display()));
            }
        }
    }
    faults
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_source_keeps_the_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let homes = re_exports(&fs::read_to_string(src.join("lib.rs")).expect("the root"));
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 1, "there is a source to look at");
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        found.extend(faults(file.strip_prefix(&src).expect("below src"), &text, &homes));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Somebody may set it: what is told apart by it is only when messages in files were sent.
#[test]
fn the_wall_clock_is_asked_for_in_one_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.retain(|file| {
        let text = code(&fs::read_to_string(file).expect("a source"));
        ["SystemTime::now", "Realtime", "REALTIME", "gettimeofday"].iter().any(|it| text.contains(it))
    });
    let asks: Vec<_> = files.iter().map(|file| file.strip_prefix(&src).expect("below src")).collect();
    assert_eq!(asks, [Path::new("journal/store.rs")]);
}

#[test]
fn the_tests_are_short_too() {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut files);
    for file in files {
        let lines = fs::read_to_string(&file).expect("a source").lines().count();
        assert!(lines <= LONGEST, "{}: {lines} lines", file.display());
    }
}

/// The rules can be broken.
#[test]
fn every_rule_has_teeth() {
    let homes =
        re_exports("mod domain;\npub use domain::{Domain, entry::Stat};\npub use crate::error::Error;\n");
    let count = |path: &str, text: &str| faults(Path::new(path), text, &homes).len();
    // Downwards, sideways, and errors from anywhere.
    assert_eq!(count("mailbox.rs", "use crate::{queue::slots, os::futex, domain::Domain};"), 0);
    assert_eq!(count("domain/entry.rs", "use crate::strategy::Strategy;\nuse crate::Error;"), 0);
    assert_eq!(count("os/map.rs", "use crate::error::Error;\n// use crate::queue::slots;"), 0);
    assert_eq!(count("queue/slots.rs", "fn f() { $crate::domain::x() } use crate::sync::wait;"), 0);
    assert_eq!(count("lib.rs", "use crate::mailbox::Mailbox;"), 0);
    // Upwards, however it is written.
    assert_eq!(count("os/map.rs", "use crate::memory::segment;"), 1);
    assert_eq!(
        count(
            "queue/slots.rs",
            "use crate::{\n    sync::{wait, domain},\n    strategy::shared,\n    mailbox,\n};"
        ),
        2
    );
    assert_eq!(count("sync/wait.rs", "pub(crate) use crate::queue::layout::State;"), 1);
    assert_eq!(count("memory/plain.rs", "fn f(it: crate::message::Format) {}"), 1);
    assert_eq!(count("queue/mod.rs", "use crate::Domain;\nuse crate::Stat;\nuse crate::Error;"), 2);
    // `unsafe`, but not a word that contains it or a comment.
    assert_eq!(count("message.rs", "#![deny(unsafe_code)]\n/// unsafe"), 0);
    assert_eq!(count("message.rs", "unsafe impl X for Y {}"), 1);
    assert_eq!(count("strategy/shared.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(count("sync/wait.rs", "fn f() { unsafe { g() } }"), 0);
    // Length.
    assert_eq!(count("queue/slots.rs", &"\n".repeat(600)), 0);
    assert_eq!(count("queue/slots.rs", &"\n".repeat(601)), 1);
}
