//! Walks: once through a whole operation, noting where what all can see changed; and then, in a fresh process,
//! straight to one of the instructions met.
//!
//! Stepping through thousands of instructions for each kill would take hours. So a fresh process runs up to an
//! *anchor*, an instruction at or before the wanted one that was met seldom before, and is stepped from there.
//! Whether it came to the same place is told by which words of shared memory changed since the first mark. What depends
//! on a clock or a process id may lead it elsewhere; that is counted, and tried again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::access::{Accesses, How};
use crate::trace::{Stop, Tracee};
use crate::view::View;

/// More instructions than any operation has: then it waits for something that does not come.
const ENDLESS: usize = 3_000_000;
/// What a breakpoint costs, in steps.
const BREAKPOINT: u32 = 3;

/// What is special about a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Any instruction.
    Plain,
    /// An instruction that writes to what is shared comes next: all that it goes by was read, and may be old.
    Write,
    /// A system call comes next, or was the last thing done.
    Call,
    /// The instruction before it changed what others see.
    Change,
    /// The operation is done.
    Done,
}

/// Where a process can be killed: after so many instructions.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub step: usize,
    pub kind: Kind,
    /// The instruction that comes next.
    pub address: u64,
    /// How often shared state had changed by then.
    pub changes: u32,
    signature: u64,
}

/// One walk through an operation.
#[derive(Debug, Default)]
pub struct Recording {
    /// The address of each instruction, and how often it was met before.
    met: Vec<(u64, u32)>,
    /// For each instruction, from which one to step, and what getting there costs.
    anchors: Vec<(u32, u32)>,
    pub points: Vec<Point>,
    /// Before which instructions a system call comes that touches what is shared, and its number.
    pub calls: Vec<(usize, u64)>,
}

/// Walks a process that stands at its first mark through to the second one, and notes everything.
pub fn record(tracee: &mut Tracee, domain: &Path) -> Result<Recording, String> {
    let mut view = View::of(domain, tracee.pid());
    let before = view.snapshot();
    let outside = not_to_be_patched(tracee.pid());
    let mut accesses = Accesses::of(tracee, &domain.to_string_lossy());
    let mut recording = Recording::default();
    let mut seen: HashMap<u64, (u32, bool)> = HashMap::new();
    let mut kinds: BTreeMap<usize, (Kind, u32, u64)> = BTreeMap::new();
    let (mut changes, mut signature) = (0, view.changes_since(&before));
    kinds.insert(0, (Kind::Call, 0, signature));
    loop {
        let at = recording.met.len();
        let registers = tracee.registers();
        let address = registers.rip;
        let (times, is_call) = seen
            .entry(address)
            .or_insert_with(|| (0, tracee.peek(address).is_some_and(|word| word & 0xffff == 0x050f)));
        recording.met.push((address, *times));
        *times += 1;
        let access = accesses.any(tracee, &registers);
        let writes = access.is_some_and(|access| access.how == How::Write);
        let (is_call, touches) = (*is_call, *is_call && touches_what_is_shared(registers.rax));
        if touches {
            let plain = kinds.get(&at).is_none_or(|(kind, ..)| *kind == Kind::Plain);
            if plain {
                kinds.insert(at, (Kind::Call, changes, signature));
            }
            recording.calls.push((at, registers.rax));
        } else if writes
            && access.is_some_and(|access| accesses.counts(&access))
            && let Some((kind @ Kind::Plain, ..)) = kinds.get_mut(&at)
        {
            *kind = Kind::Write;
        }
        if is_call && view.look(false) {
            return Err(format!(
                "something changed before {address:#x} that no instruction was seen to write"
            ));
        }
        match tracee.step() {
            Stop::Trap => {}
            Stop::Mark => break,
            other => return Err(format!("{other:?} after {at} instructions, at {address:#x}")),
        }
        if (is_call || writes) && view.look(is_call) {
            changes += 1;
            signature = view.changes_since(&before);
            kinds.insert(at + 1, (Kind::Change, changes, signature));
        } else if touches {
            kinds.insert(at + 1, (Kind::Call, changes, signature));
        } else {
            kinds.entry(at + 1).or_insert((Kind::Plain, changes, signature));
        }
        if at > ENDLESS {
            return Err(format!("no end after {ENDLESS} instructions, at {address:#x}"));
        }
    }
    let last = recording.met.len() - 1;
    kinds.insert(last, (Kind::Done, changes, signature));
    recording.points = kinds
        .into_iter()
        .map(|(step, (kind, changes, signature))| Point {
            step,
            kind,
            address: recording.met[step].0,
            changes,
            signature,
        })
        .collect();
    recording.drop_anchors(&outside);
    Ok(recording)
}

impl Recording {
    fn drop_anchors(&mut self, outside: &[(u64, u64)]) {
        self.anchors.push((0, 0));
        for (at, (address, times)) in self.met.iter().enumerate().skip(1) {
            let (anchor, cost) = self.anchors[at - 1];
            let forbidden = outside.iter().any(|(from, to)| (from..to).contains(&address));
            let direct = BREAKPOINT * (times + 1);
            let next = if !forbidden && direct <= cost { (at as u32, direct) } else { (anchor, cost + 1) };
            self.anchors.push(next);
        }
    }

    pub fn instructions(&self) -> usize {
        self.met.len()
    }

    /// Brings a process that stands at its first mark to a point. Whether it came to the very same.
    pub fn go_to(&self, point: &Point, tracee: &mut Tracee, domain: &Path) -> Result<bool, String> {
        let mut view = View::of(domain, tracee.pid());
        let before = view.snapshot();
        if point.kind == Kind::Done {
            return match tracee.run_all() {
                Stop::Mark => Ok(true),
                other => Err(format!("{other:?} on the way to the end")),
            };
        }
        let anchor = self.anchors[point.step].0 as usize;
        if anchor > 0 && !run_to(tracee, self.met[anchor])? {
            return Ok(false);
        }
        for _ in anchor..point.step {
            match tracee.step() {
                Stop::Trap => {}
                Stop::Mark => return Ok(false),
                other => return Err(format!("{other:?} on the way")),
            }
        }
        view.look(true);
        Ok(tracee.registers().rip == point.address && view.changes_since(&before) == point.signature)
    }
}

/// Runs until an address is met that often and once more. `false`: it came to its second mark before.
fn run_to(tracee: &mut Tracee, (address, times): (u64, u32)) -> Result<bool, String> {
    let word = tracee.peek(address).ok_or_else(|| format!("nothing is at {address:#x}"))?;
    for time in 0..=times {
        tracee.poke(address, word & !0xff | 0xcc);
        let stop = tracee.run();
        if stop == Stop::Mark {
            return Ok(false);
        }
        let mut registers = tracee.registers();
        if stop != Stop::Trap || registers.rip != address + 1 {
            return Err(format!("{stop:?} on the way to {address:#x}"));
        }
        registers.rip = address;
        tracee.set_registers(&registers);
        tracee.poke(address, word);
        if time < times && tracee.step() == Stop::Mark {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a system call can change, or ask about, what other processes see.
pub fn touches_what_is_shared(number: u64) -> bool {
    let own = [
        libc::SYS_brk,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_geteuid,
        libc::SYS_getegid,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_clock_gettime,
        libc::SYS_sched_yield,
        libc::SYS_tgkill,
    ];
    !own.contains(&(number as i64))
}

/// Where the kernel's own code lies: no breakpoints there.
fn not_to_be_patched(pid: u32) -> Vec<(u64, u64)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let parse = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
    };
    maps.lines().filter(|line| line.contains("[v")).filter_map(parse).collect()
}
