//! Where a process is about to touch what is shared: instructions that read or write mapped memory of the domain,
//! and system calls that concern it.
//!
//! Each instruction is decoded once; where its operands lie is told by the registers each time. A copy
//! goes through hundreds of words by the same instruction: of such a run the first few accesses count and then
//! each sixteenth.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use iced_x86::{CodeSize, Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register, UsedMemory};
use libc::user_regs_struct;

use crate::trace::Tracee;
use crate::view::NAMELESS;
use crate::walk::touches_what_is_shared;

/// Accesses of one instruction that are no further apart are a run.
const STRIDE: u64 = 64;
/// So many of a run count …
const FIRST: u32 = 4;
/// … and then each of so many.
const EACH: u32 = 16;
/// No instruction is longer.
const LONGEST: usize = 15;

/// What is touched next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The instruction.
    pub address: u64,
    /// So far into its file, or the number of the system call.
    pub what: u64,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Read,
    Write,
    Call,
}

#[derive(Debug)]
struct Decoded {
    call: bool,
    operands: Vec<(UsedMemory, bool)>,
}

thread_local! {
    /// All processes have the same code at the same addresses.
    static DECODED: RefCell<HashMap<u64, Rc<Decoded>>> = RefCell::default();
}

/// What one process has mapped of a domain.
#[derive(Debug)]
pub struct Accesses {
    directory: String,
    pid: u32,
    /// From where to where, and which part of its file.
    mapped: Vec<(u64, u64, u64)>,
    stale: bool,
    /// Instructions that touched something, or called the system.
    pub met: BTreeSet<u64>,
    /// By instruction: where it was last, and how many accesses its run has.
    runs: HashMap<u64, (u64, u32)>,
}

impl Accesses {
    pub fn of(tracee: &Tracee, directory: &str) -> Accesses {
        let (directory, pid) = (directory.to_owned(), tracee.pid());
        Accesses {
            directory,
            pid,
            mapped: Vec::new(),
            stale: true,
            met: BTreeSet::new(),
            runs: HashMap::new(),
        }
    }

    /// What the instruction does that a process stands before, if that counts.
    pub fn next(&mut self, tracee: &Tracee, registers: &user_regs_struct) -> Option<Access> {
        let access = self.any(tracee, registers)?;
        self.counts(&access).then_some(access)
    }

    /// Whether it counts. Of a run see above.
    pub fn counts(&mut self, access: &Access) -> bool {
        if access.how == How::Call {
            return true;
        }
        let (last, count) = self.runs.entry(access.address).or_insert((u64::MAX, 0));
        let goes_on = *last < access.what && access.what - *last <= STRIDE;
        *count = if goes_on { *count + 1 } else { 1 };
        *last = access.what;
        *count <= FIRST || count.is_multiple_of(EACH)
    }

    /// The same, whether it counts or not.
    pub fn any(&mut self, tracee: &Tracee, registers: &user_regs_struct) -> Option<Access> {
        let address = registers.rip;
        let decoded = decoded(tracee, address);
        if decoded.call {
            self.met.insert(address);
            let number = registers.rax;
            let maps = [libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap];
            self.stale |= maps.contains(&(number as i64));
            let access = Access { address, what: number, how: How::Call };
            return touches_what_is_shared(number).then_some(access);
        }
        if decoded.operands.is_empty() {
            return None;
        }
        if self.stale {
            self.look();
        }
        let access = decoded.operands.iter().find_map(|(operand, writes)| {
            let at = operand.virtual_address(0, |register, _, _| value(registers, register))?;
            let (from, _, offset) = self.mapped.iter().find(|(from, to, _)| (*from..*to).contains(&at))?;
            let how = if *writes { How::Write } else { How::Read };
            Some(Access { address, what: at - from + offset, how })
        });
        if access.is_some() {
            self.met.insert(address);
        }
        access
    }

    fn look(&mut self) {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let parse = |line: &str| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let offset = words.nth(1)?;
            let hex = |text| u64::from_str_radix(text, 16).ok();
            let path = words.nth(2)?;
            let shared = path.starts_with(&self.directory) || path.starts_with(NAMELESS);
            shared.then_some((hex(from)?, hex(to)?, hex(offset)?))
        };
        self.mapped = maps.lines().filter_map(parse).collect();
        self.stale = false;
    }
}

fn decoded(tracee: &Tracee, address: u64) -> Rc<Decoded> {
    DECODED.with_borrow_mut(|all| {
        Rc::clone(all.entry(address).or_insert_with(|| Rc::new(decode(tracee, address))))
    })
}

fn decode(tracee: &Tracee, address: u64) -> Decoded {
    let words = [0, 8].map(|at| tracee.peek(address + at).map_or([0; 8], u64::to_le_bytes));
    let bytes = words.concat();
    let mut decoder = Decoder::with_ip(64, &bytes[..LONGEST], address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(&instruction).used_memory().iter().filter_map(|operand| {
        let writes = match operand.access() {
            OpAccess::Read | OpAccess::CondRead => false,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => true,
            // A hint, or an address that is only computed.
            _ => return None,
        };
        // The stack is nobody else's, and addresses that instructions carry are the program's own.
        let own = [Register::RSP, Register::RIP].contains(&operand.base());
        (!own && operand.address_size() == CodeSize::Code64).then_some((*operand, writes))
    });
    Decoded { call: bytes.starts_with(&[0x0f, 0x05]), operands: used.collect() }
}

fn value(registers: &user_regs_struct, register: Register) -> Option<u64> {
    Some(match register {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        Register::DS | Register::ES | Register::SS | Register::CS => 0,
        _ => return None,
    })
}
