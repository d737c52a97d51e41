//! The conformance suite: what a mailbox promises, on every strategy × capacity × ownership, between real processes.
//!
//! One suite, many rows: `rows.rs` has the table, each test runs on all of it and names the row that fails.
//! A new strategy or capacity is a new row there, not a new test here.
//!
//! | module | promise |
//! |---|---|
//! | `order` | one order, per sender as sent, every message exactly once |
//! | `capacity` | exactly n wait, never more, never fewer; `len` and its kin |
//! | `fixed`, `variable` | every size, alignment and length arrives whole; too long is refused, not cut |
//! | `files` | what is kept in files outlives processes and restarts; damage is told and passed over |
//! | `alone` | a link in use is closed: every message is accounted for, whichever of several threads sent it |
//! | `calls` | the words mean what they mean in crossbeam-channel; the message comes back in the error |
//! | `envelope` | who sent it, which one it is, what `stat` and `list` say, ids are never used again |
//! | `large` | up to 1 MiB and beyond; memory comes with the messages and goes without them |
//! | `deliveries` | what is in hand is consumed when it is accepted, and comes back whatever else happens |
//! | `unwanted` | what is rejected or came back too often is delivered to nobody: to the dead letters, or away |
//! | `holding` | who holds for longer than promised is fenced off, if somebody waits, and told |
//! | `handing_on` | what bridges and recorders need: places that are kept, types that are not known, numbers |
//! | `loans` | what a sender writes where it will be read; no memory is lost with it |
//! | `links` | processes that name each other: one link for each two, an inbox for all, a monitor |
//! | `linking` | links whose other end is gone, how soon that is told; links of any type |
//! | `links_by_kernel` | links of which the kernel copies the messages: what only they can |
//! | `awaited` | links with names and without, capacity zero and messages that are awaited: the other process is stopped or killed meanwhile |
//! | `pairs` | links without a name: a process and one that it started, whoever dies; nothing leaks to others |
//! | `pairs_by_kernel` | those of which the kernel copies the messages: what only they can |
//! | `competing` | many receivers: each message to exactly one, whoever dies |
//! | `in_place` | regions of which there is one copy: whole versions for readers, poisoned by who does not finish, repaired |
//! | `in_place_moved` | whoever repairs moves the data out of reach of one who was fenced |
//! | `removal` | a mailbox that the system owned is removed: everyone is told the same number |
//! | `collected` | a synchronous send: collected or withdrawn, never both |
//! | `answers` | calls: each answer finds its caller, and who waits in vain is told |
//! | `asking` | calls by tasks |
//! | `closing` | however the owner goes, every user is told, and told the same number |
//! | `batches` | many in one call are as many one by one, whoever dies in it |
//! | `encoded` | any type that serde knows (with the feature `serde`) |
//! | `stopped` | a stopped process is not a dead one |
//! | `killed` | a process killed at any moment leaves the others working |
//! | `stepped` | the same, with the instruction of the kill chosen, where `stepkill` does not do that |
//! | `rendezvous` | capacity zero: who sends and who receives meet, and nothing lies in between |
//! | `regions` | data in whole versions: what was not committed never was; formats and names |
//! | `regions_turns` | writers take turns as they came; who waits sleeps, and is told when it is over |
//! | `tables` | keys come and go as in a map, whoever writes; readers have one version of all |
//! | `regions_leases` | who holds for too long, stands still or dies, holds up nobody |
//! | `regions_patience` | who waits for less than a lease, and comes again, is not kept out |
//! | `regions_tasks` | versions and turns that tasks and event loops wait for; dropped, they keep nothing |
//! | `regions_kept` | versions that are kept: their memory, too many of them, edits of parts |
//! | `tasks` | futures on any executor: the same promises; dropped, they have done nothing |
//! | `ready` | descriptors that say when a mailbox is ready, in anybody's event loop |
//! | `select` | one thread that waits for several mailboxes |
//! | `bare` | segments: memory with a name, whose it is, and whether it is over |
//! | `regions_told` | what is told of a region: who writes and reads, what is set aside |
//! | `agreement` | formats and names: each refusal shows both sides |

#[path = "../stage/mod.rs"]
mod stage;

mod agreement;
mod alone;
mod answers;
mod asking;
mod awaited;
mod bare;
mod batches;
mod calls;
mod capacity;
mod cast;
mod closing;
mod collected;
mod competing;
mod deliveries;
#[cfg(feature = "serde")]
mod encoded;
mod envelope;
mod executors;
mod files;
mod files_damaged;
mod fixed;
mod handing_on;
mod holding;
mod in_place;
mod in_place_moved;
mod killed;
mod large;
mod last_words;
mod letters;
mod linking;
mod links;
mod links_by_kernel;
mod links_refused;
mod loans;
mod notes;
mod order;
mod overtaken;
mod pairs;
mod pairs_by_kernel;
mod ready;
mod regions;
mod regions_kept;
mod regions_leases;
mod regions_patience;
mod regions_tasks;
mod regions_told;
mod regions_turns;
mod removal;
mod rendezvous;
mod rows;
mod select;
mod stepped;
mod stopped;
mod tables;
mod tasks;
mod unwanted;
mod variable;

/// Not a test: other processes of this suite start here.
#[test]
fn role() {
    stage::enter(&[
        cast::ROLES,
        alone::ROLES,
        handing_on::ROLES,
        holding::ROLES,
        in_place::ROLES,
        in_place_moved::ROLES,
        files::ROLES,
        links::ROLES,
        awaited::ROLES,
        bare::ROLES,
        regions_told::ROLES,
        pairs::ROLES,
        loans::ROLES,
        order::ROLES,
        killed::ROLES,
        notes::ROLES,
        stepped::ROLES,
        stopped::ROLES,
        agreement::ROLES,
        answers::ROLES,
        batches::ROLES,
        #[cfg(feature = "serde")]
        encoded::ROLES,
        tasks::ROLES,
        ready::ROLES,
        regions::ROLES,
        regions_kept::ROLES,
        regions_leases::ROLES,
        regions_tasks::ROLES,
        tables::ROLES,
    ]);
}
