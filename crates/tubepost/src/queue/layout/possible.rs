//! Which choices can be.

use super::{
    ADDRESS, Choice, LEAST_CHUNK, MAX_ALIGN, MAX_CAPACITY, MAX_CEILING, MAX_FORMAT, MAX_MESSAGE, class_of,
};
use crate::error::Error;
use crate::queue::areas::{MOST_PLACES, UNBOUNDED};

/// Says whether a mailbox can hold just so many.
pub(crate) fn check_capacity(capacity: Option<u64>) -> Result<(), Error> {
    match capacity {
        Some(given) if given > MAX_CAPACITY => Err(Error::BadOption {
            what: "the capacity",
            given: given.to_string(),
            allowed: format!("0 to {MAX_CAPACITY} messages, or unbounded"),
        }),
        _ => Ok(()),
    }
}

pub(super) fn possible(choice: &Choice) -> Result<(), Error> {
    let impossible =
        |what, given: u64, allowed: String| Err(Error::BadOption { what, given: given.to_string(), allowed });
    let Choice { capacity, places, max_message, align, format_length, ceiling, .. } = *choice;
    let (unbounded, given) = (capacity == UNBOUNDED, places != 0);
    if given && !(unbounded && places.is_power_of_two() && places <= MOST_PLACES) {
        return impossible("the places of a segment", places, format!("a power of two up to {MOST_PLACES}"));
    }
    if choice.answers > MAX_MESSAGE {
        let given = choice.answers - 1;
        return impossible("the longest answer", given, format!("less than {MAX_MESSAGE} bytes (1 GiB)"));
    }
    if choice.answered() && max_message < ADDRESS {
        return impossible("the longest message", max_message, format!("at least {ADDRESS} bytes"));
    }
    check_capacity((!unbounded).then_some(capacity))?;
    if max_message > MAX_MESSAGE {
        return impossible(
            "the longest message",
            max_message,
            format!("at most {MAX_MESSAGE} bytes (1 GiB)"),
        );
    }
    if !align.is_power_of_two() || align > MAX_ALIGN {
        return impossible("the alignment", align, format!("a power of two, at most {MAX_ALIGN}"));
    }
    if format_length > MAX_FORMAT {
        return impossible("the length of the format", format_length, format!("at most {MAX_FORMAT} bytes"));
    }
    let least = LEAST_CHUNK << class_of(max_message.max(choice.answers));
    if !(least..=MAX_CEILING).contains(&ceiling) {
        let allowed =
            format!("at least {least} bytes, for one message of {max_message}, at most {MAX_CEILING}");
        return impossible("the ceiling", ceiling, allowed);
    }
    Ok(())
}
