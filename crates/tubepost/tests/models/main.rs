//! Exhaustive models of the protocols on which tubepost stands.
//!
//! A model is a protocol cut down to a handful of processes and words. [`explorer`] then visits
//! *every* interleaving of it: any process may be killed between any two steps, and any process may
//! be stopped for as long as it likes, because "stopped" is only "not scheduled". What holds here
//! holds for these sizes whatever the schedule; what breaks, breaks with the shortest schedule that
//! does it, printed step by step.
//!
//! | module | what it models | memory |
//! |---|---|---|
//! | [`slots`] | the bounded queue: claiming, publishing, recovery of the dead, reuse of their rows | in order |
//! | [`close`] | closing it, and the one number of messages never collected | in order |
//! | [`takes`] | receivers that compete: taking, giving back what the dead had, closing | in order |
//! | [`waiting`] | sleeping and waking without a fence per message | store buffers |
//! | [`chunks`] | payloads beside the slots, messages in hand, reclaiming them from the dead | in order |
//! | [`fencing`] | holders that are late: one of many waiters delivers the message again, nobody twice | in order |
//! | [`waking`] | whom to wake where receivers compete | in order |
//! | [`doors`] | waking those who wait for a descriptor, beside sleepers | in order |
//! | [`handoff`] | capacity zero: giving, offering, giving up | in order |
//! | [`given_here`] | capacity zero: short messages in the cells of their receivers | in order |
//! | [`calls`] | questions and answers: who answers, giving up, a second server | in order |
//! | [`segments`] | an unbounded queue: segments that come, go, and lose their memory under who looks | store buffers |
//! | [`linking`] | setting up a link from both sides at once, by lives of processes | in order |
//! | [`notes`] | an inbox: notes of what comes in a link that was found empty, and its end | in order |
//! | [`credit`] | the kernel strategy: tokens, and the order of messages | in order |
//! | [`turns`] | the kernel strategy: the order of one sender's messages where tokens were put back | in order |
//! | [`acknowledged`] | the same: a message that is awaited, and withdrawn | in order |
//! | [`meeting`] | the same: who waits where nothing is stored | in order |
//! | [`names`] | who may take a dead owner's name | in order |
//! | [`pairs`] | ends without a name: who has one, when it is dead, who is told | in order |
//! | [`kept`] | pairs of the kernel strategy: tokens that were not used | in order |
//! | [`posts`] | links of the kernel strategy: who comes, and how a receiver knows that no more does | in order |
//! | [`sealed`] | the sealed strategy: words of one writer each: notes, withdrawing, closing | store buffers |
//! | [`journal`] | messages in files: appending, receiving, fencing, closing | in order |
//! | [`versions`] | a region: whole versions, fences, buffers and what was changed in them | in order |
//! | [`writers`] | regions: who writes next | in order of arrival; nobody is held up by one who stands still, or is dead |
//! | [`in_place`] | a region of which there is one copy: copies that are validated, poisoning, repair | in order |
//! | [`sole`] | a lock biased towards one thread | store buffers |
//!
//! Each module has tests for the sound protocol, and for the same protocol with one rule left out:
//! there the test asserts that the explorer *finds* the violation. A model that cannot fail proves
//! nothing.
//!
//! With `TUBEPOST_TESTS_LONG` set (`.ci/full models`) there are larger bounds than fit into every run.
//!
//! "In order" means that the words involved are changed by compare-and-swap or published by release
//! stores that the model shows at their visible moment; where the delay between a store and its
//! visibility matters, the model has store buffers ([`memory`]).

mod acknowledged;
mod alone;
mod calls;
mod chunks;
mod close;
mod credit;
mod doors;
mod explorer;
mod fencing;
mod given_here;
mod handoff;
mod in_place;
mod journal;
mod kept;
mod linking;
mod meeting;
mod memory;
mod names;
mod notes;
mod pairs;
mod posts;
mod sealed;
mod segments;
mod slots;
mod sole;
mod takes;
mod turns;
mod versions;
mod waiting;
mod waking;
mod writers;
