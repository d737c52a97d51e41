//! Mailboxes across hosts: what is promised in `docs/network.md`, with real bridges, real kills, and real cuts.
//!
//! | module | promise |
//! |---|---|
//! | `mailboxes` | a mailbox elsewhere is used as one here: format, capacity, order, collection, its end |
//! | `killed` | bridges are killed under load: nothing is lost, nothing comes twice, nothing changes places |
//! | `cuts` | hosts in network namespaces, the link between them goes and comes |
//! | `certificates` | who has no certificate gets nothing |

mod certificates;
mod cuts;
mod killed;
mod mailboxes;
mod stage;
