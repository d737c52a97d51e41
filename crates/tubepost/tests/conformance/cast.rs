//! The two roles that most tests need: an owner and a user of one mailbox of numbers, told line by line
//! what to do. Every outcome is answered by one line.

use std::time::Duration;

use tubepost::{
    Closed, Domain, Receiver, RecvError, SendCollectedError, SendError, SendTimeoutError, Sender,
    TrySendError,
};

use crate::rows::{Owned, Row};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, now_ns, thread_id, until_asleep};

pub const ROLES: &[Role] = &[("owner", owner), ("user", user)];

/// Owns `name` in the domain, or creates it and receives from it; the arguments are domain, name, row, member name.
fn owner(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let row = Row::of(cue, 2);
    let options = row.options::<u64>(&domain).member(cue.arg(3));
    let owned = match row.owned {
        Owned::ByProcess => options.own(cue.arg(1)),
        Owned::BySystem => options
            .create(cue.arg(1))
            .and_then(|_| Receiver::<u64>::options().domain(&domain).open(cue.arg(1))),
    };
    let mut inbox = match owned {
        Ok(inbox) => Some(inbox),
        Err(error) => {
            cue.say(format!("refused {error}"));
            return;
        }
    };
    cue.say("own");
    loop {
        let line = cue.hear();
        let inbox_now = inbox.as_ref().expect("not after it was dropped");
        match words(&line)[..] {
            // Takes k messages and says them.
            ["take", k] => cue.say(take(inbox_now, k.parse().expect("a number"))),
            // Waits for a message that may never come.
            ["wait"] => {
                cue.say(thread_id());
                cue.say(match inbox_now.recv() {
                    Ok(message) => format!("got {message}"),
                    Err(RecvError::Closed(closed)) => closed_word(closed),
                    Err(RecvError::Failed(error)) => format!("failed {error}"),
                });
            }
            ["close"] => cue.say(closed_word(inbox_now.close().expect("its own mailbox"))),
            ["drop"] => {
                inbox = None;
                cue.say("dropped");
            }
            // Ends without dropping anything: main does not return, destructors do not run.
            ["exit"] => std::process::exit(0),
            _ => panic!("the owner does not know {line:?}"),
        }
    }
}

fn take(inbox: &Receiver<u64>, k: u64) -> String {
    let mut taken = Vec::new();
    for _ in 0..k {
        match inbox.recv_timeout(PATIENCE) {
            Ok(message) => taken.push(message.to_string()),
            Err(error) => return format!("failed after {}: {error}", taken.len()),
        }
    }
    format!("took {}", taken.join(" "))
}

/// Sends to `name`; the arguments are domain, name, member name. Opens when told to.
fn user(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let mut out: Option<Sender<u64>> = None;
    loop {
        let line = cue.hear();
        let words = words(&line);
        if let ["open"] = words[..] {
            let opened = Sender::<u64>::options().domain(&domain).member(cue.arg(2)).open(cue.arg(1));
            cue.say(match &opened {
                Ok(_) => "open".to_owned(),
                Err(error) => format!("refused {error}"),
            });
            out = opened.ok();
            continue;
        }
        let out = out.as_ref().expect("opened before");
        match words[..] {
            ["try", message] => cue.say(match out.try_send(message.parse().expect("a number")) {
                Ok(()) => "ok".to_owned(),
                Err(TrySendError::Full(_)) => "full".to_owned(),
                Err(TrySendError::Closed(_, closed)) => closed_word(closed),
                Err(TrySendError::Failed(_, error)) => format!("failed {error}"),
            }),
            ["send", message] => say_waiting(cue, || send(out, message)),
            ["send_for", message] => say_waiting(cue, || send_for(out, message)),
            ["collect", message] => say_waiting(cue, || collect(out, message)),
            ["closed"] => say_waiting(cue, || closed_word(out.closed().expect("a handle of this process"))),
            _ => panic!("the user does not know {line:?}"),
        }
    }
}

/// Says which thread is about to wait, then how that ended and when.
fn say_waiting(cue: &Cue, wait: impl FnOnce() -> String) {
    cue.say(thread_id());
    let outcome = wait();
    let when = now_ns();
    cue.say(format!("{outcome} at {when}"));
}

fn send(out: &Sender<u64>, message: &str) -> String {
    match out.send(message.parse().expect("a number")) {
        Ok(()) => "ok".to_owned(),
        Err(SendError::Closed(_, closed)) => closed_word(closed),
        Err(SendError::Failed(_, error)) => format!("failed {error}"),
    }
}

fn collect(out: &Sender<u64>, message: &str) -> String {
    match out.send_collected(message.parse().expect("a number")) {
        Ok(()) => "ok".to_owned(),
        Err(SendCollectedError::Timeout(_)) => "timeout".to_owned(),
        Err(SendCollectedError::Closed(_, closed, fate)) => format!("{} {fate:?}", closed_word(closed)),
        Err(SendCollectedError::Failed(_, error)) => format!("failed {error}"),
    }
}

fn send_for(out: &Sender<u64>, message: &str) -> String {
    match out.send_timeout(message.parse().expect("a number"), PATIENCE) {
        Ok(()) => "ok".to_owned(),
        Err(SendTimeoutError::Timeout(_)) => "timeout".to_owned(),
        Err(SendTimeoutError::Closed(_, closed)) => closed_word(closed),
        Err(SendTimeoutError::Failed(_, error)) => format!("failed {error}"),
    }
}

pub fn closed_word(closed: Closed) -> String {
    format!("closed {}", closed.uncollected)
}

pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Starts an owner and waits until it owns.
#[track_caller]
pub fn start_owner(place: &Place, name: &str, row: &Row) -> Child {
    let mut child = Child::start("owner", &[&place.arg(), name, &row.arg(), "owner"]);
    child.expect("own");
    child
}

/// Starts a user that has opened the mailbox.
#[track_caller]
pub fn start_user(place: &Place, name: &str) -> Child {
    let mut child = Child::start("user", &[&place.arg(), name, "user"]);
    child.say("open");
    child.expect("open");
    child
}

/// Tells a role to wait in a call, and returns when it sleeps in there.
#[track_caller]
pub fn set_waiting(child: &mut Child, line: &str) {
    let thread = child.ask(line).parse().expect("the thread that will wait");
    until_asleep(child.pid(), thread);
}

/// What a waiting user says at last: the outcome, and when it came.
#[track_caller]
pub fn outcome(child: &mut Child) -> (String, u64) {
    let line = child.hear();
    let (outcome, when) = line.rsplit_once(" at ").expect("an outcome and a time");
    (outcome.to_owned(), when.parse().expect("a time"))
}

/// Short enough for a test, long enough that a call which does not wait is told from one that does.
pub const A_MOMENT: Duration = Duration::from_millis(40);
