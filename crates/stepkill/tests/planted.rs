//! All errors that are planted in the library are found. It builds the library once more, and takes minutes.

use std::process::Command;

#[test]
fn all_planted_errors_are_found() {
    let output = Command::new(env!("CARGO_BIN_EXE_stepkill")).arg("planted").output().expect("it runs");
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{said}");
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = said.split_once(&format!("\"{name}\": "))?;
        rest.split(',').next()?.parse().ok()
    };
    let (planted, caught) = (number("planted"), number("caught"));
    assert!(planted.is_some_and(|planted| planted > 0) && planted == caught, "{told}\n{said}");
}
