//! What a mailbox's messages are: what the user insists on, else whatever the mailbox says.

use tubepost::{Domain, Stat};

use crate::exit::Failure;

/// The label to open a mailbox with.
pub fn of(domain: &Domain, name: &str, given: Option<&str>) -> Result<String, Failure> {
    match given {
        Some(label) => Ok(label.to_string()),
        None => Ok(told(domain.stat(name)?)),
    }
}

/// The same of one to send to: what is sent there is not to be answered.
pub fn of_messages(domain: &Domain, name: &str, given: Option<&str>) -> Result<String, Failure> {
    let stat = domain.stat(name)?;
    if stat.answer.is_some() {
        let why =
            "each message here is a question, and answered by who receives it: ask with `tubepost call`";
        return Err(Failure::failed(why).about(name));
    }
    Ok(given.map_or_else(|| told(stat), str::to_string))
}

/// The same of one to ask.
pub fn of_questions(domain: &Domain, name: &str) -> Result<String, Failure> {
    let stat = domain.stat(name)?;
    if stat.answer.is_none() {
        let why = "no message here is answered by who receives it: use `tubepost send`";
        return Err(Failure::failed(why).about(name));
    }
    Ok(told(stat))
}

/// A fixed type has no label to take over; opening it says what it is.
pub fn told(stat: Stat) -> String {
    if stat.variable { stat.format } else { String::new() }
}
