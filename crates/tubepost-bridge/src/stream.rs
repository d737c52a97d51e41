//! A stream to the mailbox that a stand-in stands for, as its importer has it: opening one, again and again; what messages (`outgoing`) and questions (`asking`)
//! have in common.

use crate::address::Address;
use crate::carried::Count;
use crate::frame::Frame;
use crate::kept;
use crate::wire::{Ear, Route, Said, Wire};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// An `Open` that is not answered is said again; and what was sent is counted after such a silence.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// What may be said to an importer and not be heard so far: many short things …
const SAID: usize = 4096;
/// … and, with answers, so many bytes before the last one.
const BYTES: usize = 64 << 20;

/// Why a stream is over for good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The mailbox went, with so many messages that nobody collected.
    Owner(u64),
    /// The exporter has no such mailbox, or does not give it to us.
    Refused(String),
    /// The stand-in was removed here.
    StandIn,
}

/// Why a stream is over for now.
pub(crate) enum Broken {
    Now,
    Ended(End),
}

impl From<End> for Broken {
    fn from(end: End) -> Broken {
        Broken::Ended(end)
    }
}

/// Between which two.
#[derive(Clone, Debug)]
pub(crate) struct Between {
    pub(crate) wire: Arc<Wire>,
    pub(crate) mailbox: u128,
    pub(crate) stand_in: u128,
    pub(crate) count: Arc<Count>,
}

/// A stream that was opened.
pub(crate) struct Stream {
    pub(crate) number: u64,
    pub(crate) route: Route,
    pub(crate) ear: Ear,
    /// The position behind the last message that was placed before.
    pub(crate) placed_to: u64,
    pub(crate) window: u64,
    /// Something went out by it that was never placed before.
    pub(crate) is_new: bool,
}

/// Who carries what is in a stand-in.
pub(crate) trait Carrier: Send {
    /// By one stream, until it breaks.
    fn carry(&mut self, to: &Address) -> impl Future<Output = Broken> + Send;
    /// Until the stand-in is removed.
    fn removed(&self) -> impl Future<Output = ()> + Send;
    fn count(&self) -> &Count;
}

/// Carries until the mailbox there, or the one here, is over.
pub(crate) async fn run(carrier: &mut impl Carrier, mut way: watch::Receiver<Option<Address>>) -> End {
    let mut pause = Duration::ZERO;
    loop {
        let Some(to) = way.borrow_and_update().clone() else {
            tokio::select! {
                changed = way.changed() => if changed.is_err() { return End::StandIn },
                () = carrier.removed() => return End::StandIn,
            }
            continue;
        };
        tokio::select! {
            ended = carrier.carry(&to) => match ended {
                Broken::Ended(end) => return end,
                Broken::Now => debug!("the stream to {} is opened again", to.host),
            },
            still = is_gone(&mut way, &to) => if !still { return End::StandIn },
        }
        carrier.count().broke();
        // Who is told again and again that something is missing takes its time.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).clamp(Duration::from_millis(1), PATIENCE);
    }
}

/// Until there is another way than this one, or none for a while: when it is gone, it may still be heard why. After that nothing more is taken out of the stand-in:
/// from one in a spool it would count as collected. `false`: the stand-in is over.
async fn is_gone(way: &mut watch::Receiver<Option<Address>>, to: &Address) -> bool {
    loop {
        let now = way.borrow_and_update().clone();
        match now {
            Some(now) if now == *to => {
                if way.changed().await.is_err() {
                    return false;
                }
            }
            Some(_) => return true,
            None => match tokio::time::timeout(PATIENCE, way.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return false,
                Err(_) => return true,
            },
        }
    }
}

impl Between {
    /// Opens a stream, as often as it takes.
    pub(crate) async fn open(&self, to: &Address) -> Result<Stream, Broken> {
        loop {
            let Ok(route) = self.wire.route(to).await else {
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let number = kept::fresh();
            let Some(mut ear) = self.wire.listen(number, (SAID, BYTES), None) else { continue };
            let open = Frame::Open {
                stream: number,
                back: &self.wire.me.inbox(),
                mailbox: self.mailbox,
                stand_in: self.stand_in,
            };
            if route.say(&open).await.is_err() {
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
            let late = Instant::now() + PATIENCE;
            let said = tokio::select! {
                said = ear.hear() => said,
                () = sleep_until(late) => None,
            };
            match said {
                Some(Said::Opened { placed_to, window }) => {
                    return Ok(Stream {
                        number,
                        route,
                        ear,
                        placed_to,
                        window: window.max(1),
                        is_new: false,
                    });
                }
                Some(Said::Refused(why)) => return Err(End::Refused(why).into()),
                Some(Said::Ended { uncollected }) => return Err(End::Owner(uncollected).into()),
                _ => {}
            }
        }
    }
}
