//! `tubepost rm`: a mailbox goes, with what nobody collected; or what a dead process left.

use tubepost::Domain;

use crate::exit::{Failure, complain};
use crate::show::plural;

pub fn run(domain: &Domain, name: &str, force: bool) -> Result<(), Failure> {
    let closed = if force { domain.remove_owned(name) } else { domain.remove(name) }?;
    if closed.uncollected > 0 {
        complain(format_args!("{name}: removed with {} in it", plural(closed.uncollected, "message")));
    }
    Ok(())
}
