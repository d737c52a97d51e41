//! Shared data in whole versions: readers together, one writer at a time, and nobody who holds up the others.
//!
//! ```text
//! current       (hold, seat, buffer, held?): which buffer has the newest version, who may make the next one
//! rows          one for each reader: idle, asking, or pinned (hold, buffer)
//! seats         one for each writer: whose turn it is, for how long it may hold, what it edits
//! buffers       each a whole version, or what somebody edits, or free
//! ```
//!
//! *Reading* waits for nobody. Load `current`; row = pinned (that hold and buffer), by a swap; load `current` again: if that buffer is present still,
//! go and read, for whoever takes it has to commit another one first, and sees the row after that. Else row = asking, by a swap. Load `current`. CAS row → pinned (that hold and buffer). If that fails a writer has
//! answered: take what it gave, unless its hold is older than the one loaded; then ask again. Let go: row = idle.
//!
//! *Writing*. `editing` = a guess which buffer nobody uses. CAS `current` → (hold + 1, my seat, same buffer, held). That acquires, of what nobody holds, and it fences, if who holds it is dead
//! or late. Answer each row that asks, by CAS, with the present buffer and one's own hold; note what is pinned, and what other
//! seats edit. If nobody uses the guess, take it: what others see of it they saw before they acquired. Else take a
//! buffer that nobody uses: `editing` = it; look at `current` again: if it changed, give up. Bring the buffer up to date; edit
//! it. CAS `current` → (same hold, my seat, it, not held): committed, or the lease has expired. `editing` = nothing.
//!
//! A buffer is *whole* at a version from behind the commit on until somebody takes it to edit; then the next one who
//! has it copies only what was changed since ([`contents`]).
//!
//! # Invariants
//! 1. A buffer is written by one process at a time, whose seat says that it edits it, and who looked at `current` after it said so; nobody has
//!    it pinned, and it is not the present one.
//! 2. A buffer that is whole at a version has just what was committed as that version.
//! 3. What a reader pinned was committed, and stays as it is until its row is idle.
//! 4. Of all who hold the same hold number exactly one commits; and of one version exactly one is committed.
//!
//! # What if it dies here?
//! - a writer anywhere before its commit: nothing has changed; the next one fences it. What it edited stays set aside until somebody sees that it
//!   is dead and sweeps its seat.
//! - right behind its commit: committed. Its buffer counts as not whole, which is one copy too many.
//! - a reader: what it pinned stays set aside until somebody sweeps its row.
//!
//! A writer that is stopped, and fenced, keeps the buffer it edits, and can do no harm with it.
//!
//! All of it is checked exhaustively in `tests/models/versions.rs`, and with its orderings in `loom_models`. Of data of
//! which there is one copy only, [`in_place`] tells.
//!
//! # Safety
//!
//! `unsafe` is allowed in this folder: turning checked offsets into references.
#![allow(unsafe_code)]

#[cfg(not(loom))]
pub(crate) mod contents;
#[cfg(not(loom))]
pub(crate) mod home;
pub(crate) mod in_place;
#[cfg(not(loom))]
pub(crate) mod layout;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(not(loom))]
pub(crate) mod mapped;
pub(crate) mod notes;
pub(crate) mod readers;
#[cfg(not(loom))]
pub(crate) mod turns;
pub(crate) mod words;
pub(crate) mod writers;
