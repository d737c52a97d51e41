//! What a mailbox's messages are: what the user insists on, else whatever the mailbox says.

use tubepost::Domain;

use crate::exit::Failure;

/// The label to open a mailbox with.
pub fn of(domain: &Domain, name: &str, given: Option<&str>) -> Result<String, Failure> {
    if let Some(label) = given {
        return Ok(label.to_string());
    }
    let stat = domain.stat(name)?;
    // A fixed type has no label to take over; opening it says what it is.
    Ok(if stat.variable { stat.format } else { String::new() })
}
