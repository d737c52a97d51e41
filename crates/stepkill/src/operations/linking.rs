//! Processes that joined, and links between them: joining, setting up, sending, receiving, leaving, burying.

use std::time::Duration;

use tubepost::{Error, Inbox, Link, LinkOptions, Process, TryRecvError};

use super::{LARGE, NONE, SMALL};
use crate::linked::{OTHER, WALKER};
use crate::world::{Before, Came, Effects, Linked, Operation, Owner, Walker, World};

const ADDS: Effects = Effects { adds: 1, ..NONE };
const RECEIVES: Effects = Effects { removes: 1, ..NONE };
const ENDS: Effects = Effects { ends: true, ..NONE };

/// The walker joins before the operation, and sets up its link; nothing waits in it.
const JOINED: World = World { owner: Owner::Walker, waiting: 0, linked: Some(FIRST), ..SMALL };
const FIRST: Linked = Linked { before: Before::Joined, goes_first: true };
const SECOND: Linked = Linked { goes_first: false, ..FIRST };
/// So that either direction is set up first.
const AFTER: World = World { linked: Some(SECOND), ..JOINED };
const MET: World = World { linked: Some(Linked { before: Before::Met, ..FIRST }), ..JOINED };
const LINKED: World = World { linked: Some(Linked { before: Before::Linked, ..FIRST }), ..JOINED };
const WAITING: World = World { waiting: 2, ..LINKED };
const CHUNKED: World = World { longest: LARGE.longest, length: LARGE.length, ..WAITING };
/// The survivor's inbox has asked for a note.
const ASKED: World = World { linked: Some(Linked { before: Before::Asked, ..FIRST }), ..JOINED };
/// Nobody of the walker's name joined yet; or one did, and died.
const NOBODY: World =
    World { owner: Owner::Nobody, linked: Some(Linked { before: Before::Nobody, ..FIRST }), ..JOINED };
const NAMESAKE: World = World { linked: Some(Linked { before: Before::Namesake, ..FIRST }), ..NOBODY };
/// A third one that had a link with the walker, or with the survivor, is dead.
const BEREFT: World = World { linked: Some(Linked { before: Before::Bereft, ..FIRST }), ..JOINED };
const LEFT: World = World { linked: Some(Linked { before: Before::Left, ..FIRST }), ..NOBODY };
/// Two walkers joined.
const TWO: World = World { linked: Some(Linked { before: Before::Two, ..FIRST }), ..NOBODY };

pub const ALL: &[Operation] = &[
    Operation { name: "link-join", world: NOBODY, walk: join, effects: NONE },
    Operation { name: "link-join-dead", world: NAMESAKE, walk: join, effects: NONE },
    Operation { name: "link-make", world: JOINED, walk: make, effects: ADDS },
    Operation { name: "link-make-back", world: AFTER, walk: make, effects: ADDS },
    Operation { name: "link-meet", world: MET, walk: make, effects: ADDS },
    Operation { name: "link-send", world: LINKED, walk: send, effects: ADDS },
    Operation { name: "link-send-chunked", world: CHUNKED, walk: send, effects: ADDS },
    Operation { name: "link-send-noted", world: ASKED, walk: send, effects: ADDS },
    Operation { name: "link-recv", world: WAITING, walk: recv, effects: RECEIVES },
    Operation { name: "link-recv-chunked", world: CHUNKED, walk: recv, effects: RECEIVES },
    Operation { name: "link-inbox", world: WAITING, walk: inbox, effects: RECEIVES },
    Operation { name: "link-inbox-in-vain", world: LINKED, walk: inbox, effects: RECEIVES },
    Operation { name: "link-leave", world: WAITING, walk: leave, effects: ENDS },
    Operation { name: "link-bury-sending", world: BEREFT, walk: bury_sending, effects: NONE },
    Operation { name: "link-bury-receiving", world: BEREFT, walk: bury_receiving, effects: NONE },
    Operation { name: "link-bury-by-inbox", world: BEREFT, walk: bury_by_inbox, effects: NONE },
    Operation { name: "link-gc", world: LEFT, walk: gc, effects: NONE },
];

/// Only as two at one time.
pub const ONLY_TWO: &[Operation] = &[
    Operation { name: "link-with-bob", world: TWO, walk: with_bob, effects: ADDS },
    Operation { name: "link-with-alice", world: TWO, walk: with_alice, effects: ADDS },
];

const SHORTLY: Duration = Duration::from_millis(20);

fn joined(walker: &Walker, name: &str) -> Result<Process, Error> {
    Process::options().domain(&walker.domain).spin(Duration::ZERO).join(name)
}

fn options(walker: &Walker) -> LinkOptions<[u8]> {
    Link::options().bounded(walker.world.capacity).max_message(walker.world.longest)
}

/// Has the survivor do its part when the walker has joined and, if there is to be one, has the link.
fn begin(walker: &Walker) -> (Process, Option<Link<[u8]>>) {
    let me = joined(walker, WALKER).expect("a free name");
    let linked = walker.world.linked.expect("it is about links");
    let with = match linked.before {
        Before::Linked | Before::Asked => Some(linked.survivor()),
        Before::Bereft => Some(OTHER),
        _ => None,
    };
    let link = with.map(|peer| options(walker).open(&me, peer).expect("it is there"));
    walker.ready();
    (me, link)
}

fn join(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(joined(walker, WALKER)?);
        Ok(Came::Done)
    })
}

fn make(walker: &Walker) {
    let (me, _) = begin(walker);
    let (letter, peer) = (walker.letter(walker.world.length), walker.world.linked.expect("it is").survivor());
    walker.act(|| {
        let link = options(walker).open(&me, peer)?;
        link.send_timeout(&letter, SHORTLY)?;
        std::mem::forget(link);
        Ok(Came::Done)
    })
}

fn send(walker: &Walker) {
    let ((_me, link), letter) = (begin(walker), walker.letter(walker.world.length));
    let link = link.expect("it was set up");
    walker.act(|| {
        link.send_timeout(&letter, SHORTLY)?;
        Ok(Came::Done)
    })
}

fn recv(walker: &Walker) {
    let (_me, link) = begin(walker);
    let link = link.expect("it was set up");
    walker.act(|| Ok(Came::got(&link.recv_timeout(SHORTLY)?)))
}

/// What it did not get in time it gets when it looks again: nothing that was sent before it went on is missed.
fn inbox(walker: &Walker) {
    let (me, _link) = begin(walker);
    let inbox: Inbox<[u8]> = me.inbox().expect("bytes need no label");
    let look_again = || match inbox.try_recv() {
        Ok(envelope) => Came::got(&envelope.message),
        Err(error) => Came::Refused(format!("{error:?}")),
    };
    walker.act_and(
        || Ok(Came::got(&inbox.recv_timeout(SHORTLY)?.message)),
        |came| if matches!(came, Ok(Came::Got(_))) { came } else { Ok(look_again()) },
    )
}

fn leave(walker: &Walker) {
    let (me, link) = begin(walker);
    walker.act(|| {
        me.leave();
        std::mem::forget((me, link));
        Ok(Came::Done)
    })
}

fn bury_sending(walker: &Walker) {
    let ((_me, link), letter) = (begin(walker), walker.letter(walker.world.length));
    let link = link.expect("it was set up");
    walker.act(|| match link.send_timeout(&letter, SHORTLY) {
        Err(error) if error.is_closed() => Ok(Came::Done),
        other => Ok(Came::Refused(format!("a dead one's link: {other:?}"))),
    })
}

fn bury_receiving(walker: &Walker) {
    let (_me, link) = begin(walker);
    let link = link.expect("it was set up");
    walker.act(|| match link.recv_timeout(SHORTLY) {
        Err(error) if error.is_closed() => Ok(Came::Done),
        other => Ok(Came::Refused(format!("a dead one's link: {other:?}"))),
    })
}

fn bury_by_inbox(walker: &Walker) {
    let (me, _link) = begin(walker);
    let inbox: Inbox<[u8]> = me.inbox().expect("bytes need no label");
    walker.act(|| match inbox.try_recv() {
        Err(TryRecvError::Empty) => Ok(Came::Done),
        other => Ok(Came::Refused(format!("nobody sends: {other:?}"))),
    })
}

fn gc(walker: &Walker) {
    walker.act(|| walker.domain.gc().map(|_| Came::Done))
}

fn with(walker: &Walker, me: &str, peer: &str) {
    let (me, letter) = (joined(walker, me).expect("a free name"), walker.letter(walker.world.length));
    walker.act(|| {
        let link = options(walker).open(&me, peer)?;
        link.send_timeout(&letter, SHORTLY)?;
        std::mem::forget(link);
        Ok(Came::Done)
    })
}

fn with_bob(walker: &Walker) {
    with(walker, "alice", "bob");
}

fn with_alice(walker: &Walker) {
    with(walker, "bob", "alice");
}
