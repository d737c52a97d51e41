//! What is plain data and what is not, as the compiler says it.
//!
//! Each file in `plain/` but `accepted.rs`, which is a test by itself, must fail to compile, with exactly the text beside it. That
//! text is the compiler's and may be written anew (`TRYBUILD=overwrite cargo test --test plain`); the
//! `// says:` lines at the top of a case are ours, and must be found in it.
//!
//! Compilers word their part differently from version to version, so the texts are compared only by the
//! one that wrote them; with any other the texts are only searched for ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The compiler whose words stand in the `.stderr` files.
const WORDED_BY: &str = "rustc 1.95.";

fn is_worded_by_this_compiler() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version =
        Command::new(rustc).arg("--version").output().expect("a compiler is here: it made this test");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let same = version.starts_with(WORDED_BY);
    if !same {
        println!("NOTE: refusals are not compiled: their words are {WORDED_BY}x's, this is {version}");
    }
    same
}

fn refused() -> Vec<PathBuf> {
    let folder = fs::read_dir("tests/plain").expect("the folder of cases");
    let mut cases: Vec<_> = folder.map(|entry| entry.expect("a case").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|e| e == "rs") && !path.ends_with("accepted.rs"));
    cases.sort();
    cases
}

#[test]
fn compiler_refuses_what_is_not_plain_and_says_why() {
    if is_worded_by_this_compiler() {
        let cases = trybuild::TestCases::new();
        for case in refused() {
            cases.compile_fail(case);
        }
        drop(cases); // runs them
    }

    for case in refused() {
        let source = fs::read_to_string(&case).expect("the case");
        let text = fs::read_to_string(case.with_extension("stderr")).expect("what the compiler says");
        let mut sentences = source.lines().filter_map(|line| line.strip_prefix("// says: ")).peekable();
        assert!(sentences.peek().is_some(), "{}: no `// says:` line", case.display());
        for sentence in sentences {
            assert!(text.contains(sentence), "{}: does not say {sentence:?}", case.display());
        }
    }
}
