//! A dictionary that other processes ask: each question has its answer, and any number are asked at one time. One of those who ask
//! doesn't wait for the answer; the dictionary is told, and goes on.
//!
//! `cargo run --release --example questions`

use std::process::{Child, Command};
use std::time::Duration;
use tubepost::{Call, CallError, Domain, Error, Mailbox, Sender};

/// Asked a word, it answers with its translation.
type Words = Call<str, str>;

const WORDS: [(&str, &str); 4] = [("tree", "Baum"), ("house", "Haus"), ("letter", "Brief"), ("tube", "Rohr")];
const ASKERS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, asker] = &arguments[..] {
        return ask(&Domain::open(domain)?, asker.parse()?);
    }
    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-questions-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let questions = Mailbox::<Words>::options().domain(&domain).own("dictionary")?;

    let start = |asker: usize| Command::new(&arguments[0]).args([&path, &asker.to_string()]).spawn();
    let askers: Vec<Child> = (0..ASKERS).map(start).collect::<Result<_, _>>()?;
    for _ in 0..ASKERS * WORDS.len() {
        let question = questions.take()?;
        if &*question == "tube" {
            std::thread::sleep(Duration::from_millis(20)); // a hard one
        }
        let known = WORDS.iter().find(|(word, _)| *word == &*question);
        let answered = match known {
            Some((_, translation)) => question.reply(translation),
            None => question.accept(), // and no answer: the caller is told
        };
        match answered {
            Err(Error::NotAwaited { .. }) => println!("somebody could not wait"),
            other => other?,
        }
    }
    for mut asker in askers {
        if !asker.wait()?.success() {
            return Err("one who asked failed".into());
        }
    }
    drop(questions);
    std::fs::remove_dir(&path)?;
    Ok(())
}

/// The other processes.
fn ask(domain: &Domain, asker: usize) -> Result<(), Box<dyn std::error::Error>> {
    let dictionary = Sender::<Words>::options().domain(domain).open("dictionary")?;
    for (word, expected) in WORDS {
        if asker == 0 && word == "tube" {
            let answer = dictionary.call_timeout(word, Duration::from_millis(1));
            assert_eq!(answer, Err(CallError::Timeout(word)));
        } else {
            assert_eq!(dictionary.call(word)?, expected);
        }
    }
    println!("asker {asker} has its answers");
    Ok(())
}
