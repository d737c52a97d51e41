//! Mailboxes across hosts: what is promised in `docs/network.md`, with real bridges, real kills, and real cuts.
//!
//! | module | promise |
//! |---|---|
//! | `mailboxes` | a mailbox elsewhere is used as one here: format, capacity, order, collection, its end |
//! | `killed` | bridges are killed under load: nothing is lost, nothing comes twice, nothing changes places |
//! | `cuts` | hosts in network namespaces, the link between them goes and comes |
//! | `asked` | questions are answered, and where nothing waits a send waits for the other side |
//! | `guarded` | the importing bridge is gone for good: senders are told; with a spool they go on |
//! | `several` | three hosts: two send to the third |
//! | `discovery` | what others export is found out, whatever is lost or comes and goes meanwhile |
//! | `strangers` | rubbish, and peers that say too much, cost nobody else anything |
//! | `certificates` | who has no certificate gets nothing |

#[allow(dead_code, reason = "the bridge's own keys and messages, for bridges that are played")]
#[path = "../../src"]
mod bridge {
    pub(crate) mod address;
    pub(crate) mod catalog;
    pub(crate) mod facts;
    pub(crate) mod pattern;
}
use bridge::{address, catalog, facts, pattern};

mod asked;
mod certificates;
mod cuts;
mod discovery;
mod guarded;
mod killed;
mod mailboxes;
mod several;
mod stage;
mod strangers;
