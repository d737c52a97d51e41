//! What can become of a call: an enum for each kind of it, with no more variants than there are, and the message if there was one.

use super::{Closed, Error};
use std::fmt;

/// Why [`Sender::send`](crate::Sender::send) failed; the message comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum SendError<S> {
    /// The owner is gone.
    Closed(S, Closed),
    /// Something else is wrong.
    Failed(S, Error),
}

/// Why [`Sender::try_send`](crate::Sender::try_send) failed; the message comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum TrySendError<S> {
    /// All places are taken; or, where the capacity is zero, nobody waits to receive.
    Full(S),
    /// The owner is gone.
    Closed(S, Closed),
    /// Something else is wrong.
    Failed(S, Error),
}

/// Why [`Sender::send_timeout`](crate::Sender::send_timeout) failed; the message comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum SendTimeoutError<S> {
    /// No place became free in time; or, where the capacity is zero, nobody came to receive.
    Timeout(S),
    /// The owner is gone.
    Closed(S, Closed),
    /// Something else is wrong.
    Failed(S, Error),
}

/// Why [`Sender::send_collected`](crate::Sender::send_collected) failed; the message comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum SendCollectedError<S> {
    /// Nobody received it in time. It was withdrawn: nobody will.
    Timeout(S),
    /// The owner is gone, or the mailbox was removed; and what is known of the message.
    Closed(S, Closed, Fate),
    /// Something else is wrong.
    Failed(S, Error),
}

/// Why [`Sender::call`](crate::Sender::call) has no answer; the question comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum CallError<S> {
    /// There was none in time. If the question was sent it may still be received.
    Timeout(S),
    /// The question was received and there is no answer: it was accepted, rejected, or received without one.
    Unanswered(S),
    /// The owner is gone, or the mailbox was removed; and what is known of the question.
    Closed(S, Closed, Fate),
    /// Something else is wrong.
    Failed(S, Error),
}

/// What became of a message whose mailbox was closed while its sender waited for it to be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nobody received it, and nobody will.
    NotCollected,
    /// A receiver was just at it.
    Unknown,
}

/// Why [`Receiver::recv`](crate::Receiver::recv) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// The mailbox was closed.
    Closed(Closed),
    /// Something else is wrong.
    Failed(Error),
}

/// Why [`Receiver::try_recv`](crate::Receiver::try_recv) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// No message is waiting.
    Empty,
    /// The mailbox was closed.
    Closed(Closed),
    /// Something else is wrong.
    Failed(Error),
}

/// Why [`Receiver::recv_timeout`](crate::Receiver::recv_timeout) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// No message came in time.
    Timeout,
    /// The mailbox was closed.
    Closed(Closed),
    /// Something else is wrong.
    Failed(Error),
}

macro_rules! sending {
    ($name:ident, $($waiting:ident, $is:ident, $becomes:ident, $text:literal);*) => {
        impl<S> $name<S> {
            /// The message that was not sent.
            pub fn into_inner(self) -> S {
                match self {
                    $(Self::$waiting(message) => message,)*
                    Self::Closed(message, ..) | Self::Failed(message, _) => message,
                }
            }
            /// Whether the mailbox is closed.
            pub fn is_closed(&self) -> bool {
                matches!(self, Self::Closed(..))
            }
            /// [`is_closed`](Self::is_closed), in the words of `std` and `crossbeam-channel`.
            pub fn is_disconnected(&self) -> bool {
                self.is_closed()
            }
            $(
            #[doc = concat!("Whether the reason is that ", $text, ".")]
            pub fn $is(&self) -> bool {
                matches!(self, Self::$waiting(_))
            })*
        }
        impl<S> fmt::Display for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$waiting(_) => f.write_str($text),)*
                    Self::Closed(_, closed, ..) => closed.fmt(f),
                    Self::Failed(_, error) => error.fmt(f),
                }
            }
        }
        impl<S> std::error::Error for $name<S> {}
        // Without asking that of the message, so that `?` works for all of them.
        impl<S> fmt::Debug for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$waiting(_) => f.write_str(concat!(stringify!($waiting), "(..)")),)*
                    Self::Closed(_, closed, ..) => write!(f, "Closed(.., {closed:?})"),
                    Self::Failed(_, error) => write!(f, "Failed(.., {error:?})"),
                }
            }
        }
        impl<S> From<$name<S>> for Error {
            fn from(error: $name<S>) -> Error {
                match error {
                    $($name::$waiting(_) => Error::$becomes,)*
                    $name::Closed(_, closed, ..) => Error::Closed(closed),
                    $name::Failed(_, error) => error,
                }
            }
        }
    };
}

macro_rules! receiving {
    ($name:ident, $($waiting:ident, $is:ident, $becomes:ident, $text:literal)?) => {
        impl $name {
            /// Whether the mailbox is closed.
            pub fn is_closed(&self) -> bool {
                matches!(self, Self::Closed(_))
            }
            /// [`is_closed`](Self::is_closed), in the words of `std` and `crossbeam-channel`.
            pub fn is_disconnected(&self) -> bool {
                self.is_closed()
            }
            $(
            #[doc = concat!("Whether the reason is that ", $text, ".")]
            pub fn $is(&self) -> bool {
                matches!(self, Self::$waiting)
            })?
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$waiting => f.write_str($text),)?
                    Self::Closed(closed) => closed.fmt(f),
                    Self::Failed(error) => error.fmt(f),
                }
            }
        }
        impl std::error::Error for $name {}
        impl From<$name> for Error {
            fn from(error: $name) -> Error {
                match error {
                    $($name::$waiting => Error::$becomes,)?
                    $name::Closed(closed) => Error::Closed(closed),
                    $name::Failed(error) => error,
                }
            }
        }
    };
}

sending!(
    CallError,
    Timeout, is_timeout, TimedOut, "no answer came in time";
    Unanswered, is_unanswered, Unanswered, "the question was received, and not answered"
);
sending!(SendError,);
sending!(TrySendError, Full, is_full, WouldWait, "the mailbox is full");
sending!(SendTimeoutError, Timeout, is_timeout, TimedOut, "no place became free in time");
sending!(SendCollectedError, Timeout, is_timeout, TimedOut, "nobody received it in time");
receiving!(RecvError,);
receiving!(TryRecvError, Empty, is_empty, WouldWait, "no message is waiting");
receiving!(RecvTimeoutError, Timeout, is_timeout, TimedOut, "no message came in time");

// What can happen to a call that waits for ever can happen to one that does not.
macro_rules! also {
    ($from:ident $(<$s:ident>)? => $to:ident, $($variant:ident $parts:tt),+) => {
        impl $(<$s>)? From<$from $(<$s>)?> for $to $(<$s>)? {
            fn from(error: $from $(<$s>)?) -> Self {
                match error {
                    $($from::$variant $parts => $to::$variant $parts,)+
                }
            }
        }
    };
}

also!(SendError<S> => TrySendError, Closed(message, closed), Failed(message, error));
also!(SendError<S> => SendTimeoutError, Closed(message, closed), Failed(message, error));
also!(RecvError => TryRecvError, Closed(closed), Failed(error));
also!(RecvError => RecvTimeoutError, Closed(closed), Failed(error));
