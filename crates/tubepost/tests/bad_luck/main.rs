//! Bad input and bad luck (P7, P8): a typed error each time that says what to do; no panic, no signal, no
//! hang, nothing half-made left behind.
//!
//! | module | what goes wrong |
//! |---|---|
//! | `names` | names that are none, names that climb out of the domain |
//! | `intruders` | planted links, foreign or open directories, missing permission |
//! | `rubbish` | segments of another version, truncated, zeroed, random, scribbled on while in use |
//! | `meddling` | the same in mailboxes that the system owns: takes, chunks, ceilings |
//! | `walks` | the same in the words that say how far things have got |
//! | `scarcity` | absurd options, no memory, no descriptors |
//! | `memory` | a full file system or a ceiling in the middle of long messages; memory that is given back |
//! | `permissions` | other users: modes, shared domains, squatters |
//! | `namespaces` | containers: pid, user, mount, ipc and time namespaces, read-only mounts |
//! | `sandboxes` | pairs with a process that has no file system, no privileges, and can open nothing; what is no end of a pair |
//! | `storms` | many processes that make, use and remove one name, killed at random |
//! | `stops` | processes that stand still in the middle of a call |
//! | `holding` | messages held in hand for ever |
//! | `endless` | mailboxes without a capacity: full memory, memory that goes, a sender stopped meanwhile |
//! | `media` | messages in files on several file systems, on one that can't be written, in directories with two names |
//! | `crowd` | ten thousand mailboxes |
//! | `regions` | regions: two users of one, a full file system, rubbish in every word |
//! | `regions_in_place` | the same of those of which there is one copy: who may move it |
//! | `removed` | a domain that is removed under those who use it |
//! | `leftovers` | rows, memory and waits that nobody needs any more |
//! | `companions` | links: other users, a fork, a thousand of them, kills among processes that all have links |
//! | `connections` | the kernel strategy: rubbish by connections, lost tokens, no descriptors |
//! | `strangers` | the kernel strategy: what another user's processes may have |
//! | `churn` | the same, and processes with links: another user connects and hangs up all the time |
//! | `each_call` | the kernel strategy: killed at each system call of a send and of a receive |
//! | `posts` | its links: who claims to be somebody else, rubbish, two users, what the dead leave |
//! | `sealed` | the sealed strategy: other users, areas that are none, rubbish in every word, floods, kills |
//! | `doors` | what tasks and event loops are woken by: no descriptors, forks, long paths, what the dead leave |
//! | `forks` | a process that forks in the middle |
//! | `quiet` | what must not happen when all is well: system calls, CPU time, descriptors, memory |

#[path = "../stage/mod.rs"]
mod stage;

mod churn;
mod citizen;
mod companions;
mod connections;
mod crowd;
mod doors;
mod each_call;
mod endless;
mod filed;
mod forks;
mod hearers;
mod holding;
mod intruders;
mod leftovers;
mod logs;
mod meddling;
mod media;
mod memory;
mod names;
mod namespaces;
mod packets;
mod permissions;
mod posts;
mod power;
mod quiet;
mod regions;
mod regions_in_place;
mod removed;
mod rubbish;
mod sandboxes;
mod scarcity;
mod sealed;
mod stops;
mod storms;
mod strangers;
mod walks;

/// Not a test: other processes of this suite start here.
#[test]
fn role() {
    stage::enter(&[
        churn::ROLES,
        citizen::ROLES,
        each_call::ROLES,
        endless::ROLES,
        doors::ROLES,
        forks::ROLES,
        intruders::ROLES,
        leftovers::ROLES,
        companions::ROLES,
        connections::ROLES,
        media::ROLES,
        meddling::ROLES,
        memory::ROLES,
        posts::ROLES,
        quiet::ROLES,
        filed::ROLES,
        regions::ROLES,
        regions_in_place::ROLES,
        rubbish::ROLES,
        sandboxes::ROLES,
        scarcity::ROLES,
        sealed::ROLES,
        stops::ROLES,
        storms::ROLES,
        strangers::ROLES,
    ]);
}
