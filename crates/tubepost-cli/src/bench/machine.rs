//! The machine the figures belong to, which CPUs the two processes get, and what is asked of the machine
//! while it is measured.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use super::Rounds;
use super::plan::CROWD;
use crate::exit::Failure;

/// The key facts, as the JSON shows them.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    /// CPUs this process may run on.
    pub cpus: usize,
    /// Those that were used: the two of the rows with one sender first.
    pub pinned: Vec<usize>,
    pub kernel: String,
    pub os: String,
    pub virtual_machine: bool,
    /// What one look at the clock costs; every single round trip's time contains about one.
    pub clock_ns: f64,
    pub tubepost: &'static str,
    pub rounds: Rounds,
    pub quick: bool,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Machine {
    pub fn look(rounds: Rounds, quick: bool) -> Result<Self, Failure> {
        let allowed = allowed_cpus()?;
        let uname = rustix::system::uname();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let value = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let os = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let flags = value("flags").unwrap_or_default();
        Ok(Self {
            cpu: value("model name").unwrap_or_else(|| uname.machine().to_string_lossy().into_owned()),
            cpus: allowed.len(),
            pinned: choose(&allowed),
            kernel: uname.release().to_string_lossy().into_owned(),
            os: os.unwrap_or("Linux").trim_matches('"').to_string(),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            clock_ns: clock_cost_ns(),
            tubepost: env!("CARGO_PKG_VERSION"),
            rounds,
            quick,
            notes: Vec::new(),
        })
    }
}

fn allowed_cpus() -> Result<Vec<usize>, Failure> {
    let set = sched_getaffinity(None).map_err(|e| Failure::failed(format!("which CPUs may be used: {e}")))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Two CPUs that are not two threads of one core, in one package, where there are such; else any two. Then as
/// many more as several senders and receivers need.
fn choose(allowed: &[usize]) -> Vec<usize> {
    let Some(&first) = allowed.first() else {
        return Vec::new();
    };
    let topology = |cpu: usize, what: &str| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/{what}"))
            .unwrap_or_default()
    };
    let package = topology(first, "physical_package_id");
    let core = topology(first, "core_id");
    let others = || allowed[1..].iter().copied();
    let neighbour = others()
        .find(|&cpu| topology(cpu, "physical_package_id") == package && topology(cpu, "core_id") != core);
    let mut chosen: Vec<usize> = [first].into_iter().chain(neighbour.or_else(|| others().next())).collect();
    let more: Vec<usize> = others().filter(|cpu| !chosen.contains(cpu)).collect();
    chosen.extend(more.into_iter().take(CROWD - chosen.len()));
    chosen
}

fn clock_cost_ns() -> f64 {
    const LOOKS: u32 = 10_000;
    let begin = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(Instant::now());
    }
    begin.elapsed().as_nanos() as f64 / f64::from(LOOKS)
}

/// Keeps the calling thread on one CPU.
pub fn pin(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|e| Failure::failed(format!("could not stay on CPU {cpu}: {e}")))
}

/// Asks idle CPUs to poll instead of sleeping, for as long as it is held.
pub struct IdlePoll(#[expect(dead_code, reason = "held, not used: closing it takes the request back")] File);

impl IdlePoll {
    const PATH: &str = "/dev/cpu_dma_latency";

    /// None where that is not permitted.
    pub fn hold() -> Option<Self> {
        let mut file = OpenOptions::new().write(true).open(Path::new(Self::PATH)).ok()?;
        file.write_all(&0i32.to_ne_bytes()).ok()?;
        Some(Self(file))
    }
}
