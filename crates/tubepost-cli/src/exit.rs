//! Exit codes, and the one line on stderr that goes with them. Every error of the library becomes an
//! exit code here and nowhere else.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | usage: an option, a name |
//! | 3 | would wait, or waited too long |
//! | 4 | no such name, or its owner is dead |
//! | 5 | closed: the owner went while the mailbox was in use |
//! | 130, 143 | interrupted, terminated |

use std::fmt::Display;

/// Why the command ends, when it does not end well.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, text: impl Display) -> Self {
        Self {
            code,
            text: text.to_string(),
        }
    }

    /// 1: it did not work.
    pub fn failed(text: impl Display) -> Self {
        Self::new(1, text)
    }

    /// 2: it was asked for in a way that cannot be.
    pub fn usage(text: impl Display) -> Self {
        Self::new(2, text)
    }

    pub fn code(&self) -> u8 {
        self.code
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<tubepost::Error> for Failure {
    fn from(e: tubepost::Error) -> Self {
        Self::failed(e)
    }
}
macro_rules! x { ($($t:ident),*) => { $(impl<S> From<tubepost::$t<S>> for Failure { fn from(_: tubepost::$t<S>) -> Self { todo!() } })* } }
x!(SendError, TrySendError, SendTimeoutError);
macro_rules! y { ($($t:ident),*) => { $(impl From<tubepost::$t> for Failure { fn from(_: tubepost::$t) -> Self { todo!() } })* } }
y!(RecvError, TryRecvError, RecvTimeoutError);
