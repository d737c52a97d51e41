//! The kernel strategy: the kernel copies messages, and sender and receiver share no memory.
//!
//! A mailbox has its entry in the domain like any other: a file with its owner's lock, format and numbers. Senders look at it and can't
//! write to it. Beside it (`domain::sockets`) are a listening socket and a pipe. Each sender has a connection (`SOCK_SEQPACKET`), by which its
//! packets come whole ([`packet`]), and a message lies in the kernel until its receiver takes it.
//!
//! **Exactly n.** The pipe holds a token for each message that may be sent. A sender takes one, then sends; the owner puts another one in
//! when it took the message for its caller. So neither a stopped owner nor a busy one makes a difference, and a connection that
//! was not accepted so far takes messages as well. That costs a system call at either end, for each message.
//!
//! **One order.** A token is a number, greater than those before, and the message that it is for says which. The owner takes
//! messages in that order: the one that it expects at once, from whatever connection had the last one; else it looks into every
//! connection ([`desk`]), and takes the first of what there is ([`turn`]). It waits for no number: a sender that is stopped with a token
//! holds up nobody.
//!
//! **Whom to believe.** Who is at the other end, the kernel says. What comes is checked: what does not keep the protocol, is too long, or has
//! other descriptors than it says, shuts that connection, and what is in it is dropped. Only processes of the owner's user (and those who may do
//! everything) can open the pipe. Others get their tokens from the owner by their connection, one at a time, out of the same n and at most a quarter of them
//! for each user ([`strangers`]).
//!
//! **Capacity zero** has no credit, and each message is done when its receiver says so: [`meeting`].
//!
//! **Links** are the same each way, but that the socket is the process's, one for all its links ([`post`], [`link`]). Both ends can open the pipe, whoever's
//! process they are of: what they can spoil is theirs.
//!
//! **Pairs** have no name, so nobody connects: each way has its one connection from the start, others are given by the sender ([`pair`]), and the pipe has no name either. The sender has its reading
//! end only: tokens that it does not use it keeps (`domain::purse`). Nobody else can have taken any along, so none is ever put in for one that is missing.
//!
//! **Sealed.** The same connections, desk and ends serve the sealed strategy, where messages go by memory and notes by the connection: [`lane`] tells how. There is no pipe
//! there, and no one order: each sender has places of its own ([`posting`]), and they are received from in turn ([`lanes`]).
//!
//! **What if it dies here?**
//! - A sender with a token: nobody has it then. When a connection was hung up, everything was taken, and tokens are missing for
//!   a [moment](desk::MOMENT) without any message, the owner puts in as many. Should one come late whose sender stood still for so long, there is one too many, and the
//!   owner takes one out again when it next has nothing to do.
//! - A sender between send and hang-up: its message is in the connection, and is received.
//! - The owner: its lock goes, then its sockets. Who is connected hears that at once, buries the mailbox, and counts the missing tokens: these are the
//!   messages that nobody collected.

pub(crate) mod collected;
pub(crate) mod comers;
pub(crate) mod connection;
pub(crate) mod desk;
pub(crate) mod inlet;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod line;
pub(crate) mod link;
pub(crate) mod meeting;
pub(crate) mod outlet;
pub(crate) mod packet;
pub(crate) mod pair;
pub(crate) mod post;
pub(crate) mod posting;
pub(crate) mod room;
pub(crate) mod strangers;
pub(crate) mod taken;
pub(crate) mod turn;
pub(crate) mod waiting;
