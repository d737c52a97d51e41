//! The system refuses something: each system call of an operation fails once, in each way that such a call may fail.
//!
//! The process is brought to the call, which is passed over as if it had failed. The operation has to succeed or to
//! return an error, and everything has to be usable afterwards, nothing lost, nothing leaked: no descriptor in
//! that process either.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::campaign::{self, Totals, violated};
use crate::operations;
use crate::scene::{Scene, Watchdog};
use crate::subject::Subject;
use crate::symbols;
use crate::walk::{Point, Recording};
use crate::{mistaken, unknown};

/// In the place of an error: only half of it is read, or written.
const SHORT: i32 = 0;

/// How a system call may fail. (Closing and unmapping don't fail: the system has let go whatever it says.)
fn ways_to_fail(call: u64) -> &'static [i32] {
    use libc::*;
    // They are what the kernel's headers call them.
    #[allow(non_upper_case_globals)]
    match call as i64 {
        SYS_open | SYS_openat => &[EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, EIO],
        SYS_mmap => &[ENOMEM, EAGAIN],
        SYS_madvise => &[ENOMEM, EAGAIN, EFAULT],
        SYS_fallocate => &[EINTR, ENOSPC, ENOMEM, EIO],
        SYS_ftruncate => &[EINTR, EIO, ENOMEM],
        SYS_fcntl => &[EINTR, EAGAIN, ENOLCK, ENOMEM],
        SYS_linkat | SYS_link => &[ENOSPC, ENOMEM, EIO],
        SYS_unlink | SYS_unlinkat => &[ENOMEM, EIO],
        SYS_fstat | SYS_newfstatat | SYS_statx | SYS_fstatfs | SYS_statfs => &[ENOMEM, EIO],
        SYS_getdents64 => &[ENOMEM, EIO],
        SYS_fchmod | SYS_fchown => &[ENOMEM, EIO],
        SYS_read | SYS_write => &[EINTR, EAGAIN, EIO],
        SYS_pread64 => &[EINTR, EAGAIN, EIO, SHORT],
        SYS_pwrite64 => &[EINTR, ENOSPC, EIO, SHORT],
        SYS_fsync | SYS_fdatasync | SYS_msync => &[EIO, ENOSPC, EDQUOT],
        SYS_flock => &[EINTR, EAGAIN, ENOLCK],
        SYS_mkdir | SYS_mkdirat | SYS_symlink | SYS_symlinkat => &[ENOSPC, ENOMEM, EIO],
        SYS_rename | SYS_renameat | SYS_renameat2 | SYS_rmdir => &[ENOSPC, ENOMEM, EIO],
        SYS_readlink | SYS_readlinkat => &[ENOMEM, EIO],
        SYS_futex => &[EINTR, EAGAIN],
        SYS_membarrier => &[ENOMEM, EPERM],
        SYS_clone | SYS_clone3 => &[EAGAIN, ENOMEM],
        SYS_pidfd_open => &[EMFILE, ENOMEM],
        _ => &[],
    }
}

/// All failures of all calls of an operation.
pub fn all_of(subject: &Subject, recording: &Recording, totals: &Totals, dog: &Watchdog) {
    let begin = Instant::now();
    let mut faults = 0;
    for (step, call) in &recording.calls {
        for errno in ways_to_fail(*call) {
            faults += 1;
            totals.faults.fetch_add(1, Relaxed);
            let Some(point) = recording.points.iter().find(|point| point.step == *step) else { continue };
            let mut maps = String::new();
            match one(subject, recording, point, i64::from(*errno), dog, &mut maps) {
                Ok(true) => {}
                Ok(false) => _ = totals.adrift.fetch_add(1, Relaxed),
                Err(why) => {
                    let place = symbols::name(&maps, point.address);
                    let error = match *errno {
                        SHORT => "only half of it is done".into(),
                        errno => std::io::Error::from_raw_os_error(errno).to_string(),
                    };
                    let name = subject.name();
                    let how = format!("{why}\n    stepkill one-fault {name} {step} {errno}");
                    violated(totals, &name, &format!("call {call} at {place} fails: {error}"), &how);
                }
            }
        }
    }
    totals.points.fetch_add(recording.calls.len() as u64, Relaxed);
    let (name, calls) = (subject.name(), recording.calls.len());
    eprintln!("{name:<36} {calls:>5} calls {faults:>5} faults {:>6.1} s", begin.elapsed().as_secs_f64());
}

fn one(
    subject: &Subject,
    recording: &Recording,
    point: &Point,
    errno: i64,
    dog: &Watchdog,
    maps: &mut String,
) -> Result<bool, String> {
    let mut scene = Scene::new(subject, point.step as u32 % crate::judge::WAYS, dog)?;
    let mut tracee = scene.walker()?;
    *maps = symbols::maps(tracee.pid());
    if !scene.go_to(recording, point, &mut tracee)? {
        return Ok(false);
    }
    let mut registers = tracee.registers();
    if errno == i64::from(SHORT) {
        let whole = registers.rdx;
        registers.rdx /= 2;
        tracee.set_registers(&registers);
        if tracee.step() != crate::trace::Stop::Trap {
            return Err("it does not come back from a call".into());
        }
        registers = tracee.registers();
        registers.rdx = whole; // no call changes it
    } else {
        registers.rip += 2;
        registers.rax = -errno as u64;
    }
    tracee.set_registers(&registers);
    let open = scene.run_to_the_mark(&mut tracee)?;
    if open > 0 {
        return Err(format!("{open} descriptors are left open"));
    }
    scene.sound = false;
    let came = scene.go_on(&mut tracee, true)?;
    scene.ask(&format!("went on: {came}")).map_err(|why| format!("{why}, after “{came}”"))?;
    Ok(true)
}

/// One of them again.
pub fn again(name: &str, step: usize, errno: i64) -> Result<(), String> {
    let dog = Watchdog::start();
    let operation = operations::find(name).unwrap_or_else(|| unknown(name));
    let subject = Subject { operation, first: None };
    let recording = campaign::record(&subject, &dog)?;
    let no_call = || mistaken(&format!("{name} has no system call after {step} instructions"));
    let call = recording.calls.iter().any(|(at, _)| *at == step);
    let point = recording.points.iter().find(|point| call && point.step == step).unwrap_or_else(no_call);
    let mut maps = String::new();
    let there = one(&subject, &recording, point, errno, &dog, &mut maps)?;
    eprintln!("{}", if there { "fine" } else { "came elsewhere" });
    Ok(())
}
