//! What a mailbox's messages are: what the user insists on, else whatever the mailbox says.

use tubepost::{Domain, Error, Link, LinkOptions, Process, Stat};

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

/// Opens a link with the label that is given, or with what it carries if the other process has set it up.
pub fn agree(
    process: &Process,
    peer: &str,
    given: Option<&str>,
    options: LinkOptions<[u8]>,
    open: impl Fn(&LinkOptions<[u8]>) -> Result<Link<[u8]>, Error>,
) -> Result<Link<[u8]>, Failure> {
    let refused = match given {
        Some(label) => return Ok(open(&options.format(label))?),
        None => match open(&options) {
            Err(refused @ Error::WrongFormat { .. }) => refused,
            done => return Ok(done?),
        },
    };
    let way = format!("{peer}~{}", process.name());
    match process.domain().stat(&way) {
        Ok(stat) if stat.variable => Ok(open(&options.format(stat.format))?),
        _ => Err(refused.into()),
    }
}

/// A fixed type has no label to take over; opening it says what it is.
pub fn told(stat: Stat) -> String {
    if stat.variable { stat.format } else { String::new() }
}
