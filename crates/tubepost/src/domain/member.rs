//! Who is alive.
//!
//! A member is one open handle. It opens the object's file privately, locks the byte that
//! has its row's number, maps the file and closes the descriptor: the kernel then holds the
//! lock exactly as long as the mapping lives, whatever way the process ends, and a forked
//! child has no part in it. Holding the lock *is* being a member; nothing else says so, and
//! no clock is asked.
//!
//! A row's word is (generation, phase):
//!
//! | phase | meaning | who may leave it |
//! |---|---|---|
//! | CLEAN | nobody's; free to take once all before `left_at` are free again | who is joining |
//! | ACTIVE | the lock's holder is a member; if nobody holds it, the member died | the member (to CLEAN), or who is joining after its death (to SWEEPING) |
//! | SWEEPING | a dead one's row is being put in order; its member counts as dead | who is joining |
//!
//! **Joining** has a lock byte of its own per row: whoever wants to take or sweep a row
//! locks that, and takes the member's byte only when the row is CLEAN and free. Otherwise a
//! newcomer that is stopped half-way would make a dead member look alive, and the message
//! that died with it would hold back all others for as long.
//!
//! **Reuse.** Messages in the queue and claims in the ledger name their sender by row. A
//! leaver, or whoever sweeps a dead one's row, looks the ledger through and notes in
//! `left_at` up to where it is named. The row is taken again only when all before that are free again.
//! What a dead receiver had taken goes back before its row is CLEAN, and its chunks are freed.
//!
//! **Is it dead?** Ask only after reading the word that names the member, and act by a CAS
//! on what was read: a verdict is never remembered. Not ACTIVE: gone. ACTIVE and the byte
//! unlocked: dead. Anything that cannot be found out: not known to be dead.
//!
//! **What if it dies here?** While joining: both bytes are unlocked again; a row already
//! ACTIVE is a dead member's, one in SWEEPING is swept again. While leaving, before CLEAN:
//! the same. Sweeping twice does no harm: tail only grows.

use super::party::Introductions;
use super::visits;
use crate::os::{Errno, lock, pid};
pub(crate) use crate::peer::Peer;
use crate::queue::about::About;
use crate::queue::layout::{Entry, MAX_MEMBER_NAME, OWNER, RECEIVES, ROWS, Row, SENDER, SENDS, Signature};
use crate::queue::rows::Rows;
use crate::queue::slots::Member;
use crate::sync::doors;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const PHASE: u64 = 3;
const CLEAN: u64 = 0;
const ACTIVE: u64 = 1;
const SWEEPING: u64 = 2;

/// Rows that are in use, or a dead one's, that one registration looks into before it takes a fresh one.
const PATIENCE: u32 = 8;

fn phase(word: u64) -> u64 {
    word & PHASE
}

fn next_generation(word: u64) -> u64 {
    (word & !PHASE).wrapping_add(PHASE + 1)
}

/// What a new member says about itself.
pub(crate) struct Introduction<'a> {
    pub(crate) pid: u32,
    pub(crate) namespace: u64,
    pub(crate) name: &'a str,
    pub(crate) receives: bool,
}

/// Why there is no row for a new member.
pub(crate) enum NoRow {
    AllTaken,
    Os(Errno),
}

impl From<Errno> for NoRow {
    fn from(errno: Errno) -> NoRow {
        NoRow::Os(errno)
    }
}

fn introduce(row: &Row, member: &Introduction<'_>) {
    visits::begin(row);
    row.pid.store(member.pid.into(), Relaxed);
    row.namespace.store(member.namespace, Relaxed);
    row.role.store(if member.receives { RECEIVES } else { SENDS }, Relaxed);
    let mut end = member.name.len().min(MAX_MEMBER_NAME);
    while !member.name.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = [0; MAX_MEMBER_NAME];
    bytes[..end].copy_from_slice(&member.name.as_bytes()[..end]);
    for (word, eight) in row.name.iter().zip(bytes.as_chunks().0) {
        word.store(u64::from_le_bytes(*eight), Relaxed);
    }
    row.name_length.store(end as u64, Relaxed);
    doors::renew(&row.door);
}

/// What a row says about its member.
pub(crate) fn peer(row: &Row) -> Peer {
    spell(row.pid.load(Relaxed) as u32, row.name_length.load(Relaxed) as usize, &row.name)
}

/// What a message in hand says about its sender.
pub(crate) fn sender(entry: &Entry) -> Peer {
    let about = About::of(entry);
    let length = if entry.author.load(Acquire) == 0 { 0 } else { about.name_length() };
    spell(about.pid(), length, &entry.sender_name)
}

/// What a cell says about who sent what is there.
pub(crate) fn sender_in_cell(signature: &Signature) -> Peer {
    let about = About::of_cell(signature);
    let length = if signature.author.load(Acquire) == 0 { 0 } else { about.name_length() };
    spell(about.pid(), length, &signature.name)
}

fn spell(pid: u32, length: usize, name: &[AtomicU64; 8]) -> Peer {
    let mut bytes = [0; MAX_MEMBER_NAME];
    for (word, eight) in name.iter().zip(bytes.as_chunks_mut().0) {
        *eight = u64::to_le_bytes(word.load(Relaxed));
    }
    let name = String::from_utf8_lossy(&bytes[..length.min(MAX_MEMBER_NAME)]).into_owned();
    Peer { pid, name }
}

/// Which of those that had or will have this row its member is.
pub(crate) fn generation(row: &Row) -> u64 {
    row.word.load(Acquire) / (PHASE + 1)
}

/// Whether a row is in use, by somebody alive or dead.
pub(crate) fn is_active(row: &Row) -> bool {
    phase(row.word.load(Acquire)) == ACTIVE
}

/// Makes the creator of a segment, which nobody else can see yet, its owner.
pub(crate) fn register_owner(fd: BorrowedFd<'_>, rows: &Rows, owner: &Introduction<'_>) -> Result<(), Errno> {
    if !lock::try_lock(fd, OWNER.into())? {
        return Err(Errno::AGAIN);
    }
    let row = rows.get(OWNER)?;
    introduce(row, owner);
    row.word.store(next_generation(0) | ACTIVE, Release);
    Ok(())
}

/// Makes the two ends of a link, which nobody else can see yet, its members; see `domain::party`.
pub(crate) fn register_ends(rows: &Rows, ends: &Introductions<'_>) -> Result<(), Errno> {
    for (member, end) in [(OWNER, &ends.receiver), (SENDER, &ends.sender)] {
        let row = rows.get(member)?;
        introduce(row, end);
        row.word.store(next_generation(0) | ACTIVE, Release);
    }
    Ok(())
}

/// The end of a pair that came into being later says who it is; see `domain::pair`.
pub(super) fn introduce_end(row: &Row, end: &Introduction<'_>) {
    introduce(row, end);
}

/// Makes the description behind `fd` a member: finds a row, locks it, fills it in.
/// `unfreed` is the first position whose place is not free again, `put_in_order` frees what a dead member
/// had and says where it is named last, `take_door` takes away what one was rung by that left, and `used` is the mark below which rows have been taken.
pub(crate) fn register(
    fd: BorrowedFd<'_>,
    rows: &Rows,
    member: &Introduction<'_>,
    unfreed: impl Fn() -> u64,
    put_in_order: impl Fn(Member) -> u64,
    take_door: impl Fn(Member),
    used: &AtomicU64,
) -> Result<Member, NoRow> {
    let mut patience = PATIENCE;
    // Twice: the first time without insisting on rows of the dead.
    for insist in [false, true] {
        for number in u64::from(OWNER) + 1..ROWS {
            let number = number as Member;
            let row = rows.get(number)?;
            let word = row.word.load(Acquire);
            if phase(word) == CLEAN && !may_be_taken(row, word, &unfreed) {
                continue;
            }
            if phase(word) != CLEAN {
                if !insist && patience == 0 {
                    continue;
                }
                patience = patience.saturating_sub(1);
            }
            let Some(joining) = Joining::of(fd, number)? else { continue };
            sweep(row, number, &put_in_order);
            let word = row.word.load(Acquire);
            // Nobody else is joining, but the member's byte may be a leaver's for a moment yet.
            if may_be_taken(row, word, &unfreed) && lock::try_lock(fd, number.into())? {
                if doors::is_there(&row.door) {
                    take_door(number); // as a rule it is gone
                }
                introduce(row, member);
                used.fetch_max(u64::from(number) + 1, AcqRel);
                row.word.store(next_generation(word) | ACTIVE, Release);
                drop(joining);
                return Ok(number);
            }
        }
    }
    Err(NoRow::AllTaken)
}

/// Permission to take or sweep a row: nobody else has it, and the row's member is dead or gone.
struct Joining<'a> {
    fd: BorrowedFd<'a>,
    byte: u64,
}

impl<'a> Joining<'a> {
    fn of(fd: BorrowedFd<'a>, member: Member) -> Result<Option<Joining<'a>>, Errno> {
        let byte = ROWS + u64::from(member);
        if !lock::try_lock(fd, byte)? {
            return Ok(None);
        }
        let joining = Joining { fd, byte };
        Ok((!lock::is_locked(fd, member.into())?).then_some(joining))
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        // Not by closing the descriptor: the mapping would keep the lock.
        lock::unlock(self.fd, self.byte);
    }
}

fn may_be_taken(row: &Row, word: u64, unfreed: &impl Fn() -> u64) -> bool {
    word == 0 || unfreed() >= row.left_at.load(Acquire)
}

/// Puts a dead one's row in order. The caller is joining.
fn sweep(row: &Row, member: Member, put_in_order: &impl Fn(Member) -> u64) {
    let word = row.word.load(Acquire);
    if phase(word) == CLEAN {
        return;
    }
    row.word.store(word & !PHASE | SWEEPING, Release);
    row.left_at.store(if planted!(RowNotSwept) { 0 } else { put_in_order(member) }, Release);
    row.word.store(word & !PHASE | CLEAN, Release);
}

/// Sweeps the rows of all who died, of those below `used`; gives their number. For `gc`.
pub(crate) fn sweep_dead(
    fd: BorrowedFd<'_>,
    rows: &Rows,
    put_in_order: impl Fn(Member) -> u64,
    used: u64,
) -> Result<u64, Errno> {
    let mut swept = 0;
    for number in u64::from(OWNER) + 1..used.min(ROWS) {
        let member = number as Member;
        let row = rows.get(member)?;
        if phase(row.word.load(Acquire)) != CLEAN
            && let Some(_joining) = Joining::of(fd, member)?
        {
            swept += u64::from(phase(row.word.load(Acquire)) != CLEAN);
            sweep(row, member, &put_in_order);
        }
    }
    Ok(swept)
}

/// A member leaves in an orderly way: all it claimed is published, up to before `named_until`.
pub(crate) fn leave(rows: &Rows, member: Member, named_until: u64) {
    if let Ok(row) = rows.get(member) {
        let word = row.word.load(Relaxed);
        row.left_at.store(named_until, Release);
        row.word.store(word & !PHASE | CLEAN, Release);
    }
}

/// Whether there is no process with the member's number, as far as that says anything here.
pub(crate) fn has_no_process(row: &Row) -> bool {
    pid::means_here(row.namespace.load(Relaxed)) && pid::is_gone(row.pid.load(Relaxed) as u32)
}

/// Whether the member is known to have no mapping any more, whatever its row says, where each row has one member only.
pub(crate) fn has_gone(rows: &Rows, member: Member, fd: BorrowedFd<'_>) -> bool {
    rows.get(member).is_ok() && matches!(lock::is_locked(fd, member.into()), Ok(false))
}

/// Whether the member is known to be dead or gone. `open` gives a descriptor of the object,
/// or nothing if it can't be had.
pub(crate) fn is_dead<F: std::os::fd::AsFd>(
    rows: &Rows,
    member: Member,
    open: impl FnOnce() -> Option<F>,
) -> bool {
    let Ok(row) = rows.get(member) else { return false };
    let word = row.word.load(Acquire);
    if phase(word) != ACTIVE {
        return true;
    }
    let Some(fd) = open() else {
        // No descriptor to ask the kernel with.
        return has_no_process(row) && row.word.load(Acquire) == word;
    };
    let dead =
        matches!(lock::is_locked(fd.as_fd(), member.into()), Ok(false)) && row.word.load(Acquire) == word;
    planted!(VerdictRemembered => return crate::planted::ever_dead(member, dead));
    dead
}
