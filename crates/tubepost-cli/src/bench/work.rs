//! What each side does in a round, for each thing that can be measured.

use std::path::{Path, PathBuf};

use tubepost::Domain;

use super::batch::{BatchInput, BatchOutput, LoanEnds, LoanInput, LoanOutput};
use super::calls::{Answerer, Caller};
use super::crowd;
use super::far::{Far, Near};
use super::files;
use super::job::{Job, Measure, Mode, Part, What, lap};
use super::kernel::{Names, Packets, Pipe, Socket};
use super::limits::{
    Copies, Futex, Line, Memcpy, RingBatchReceiver, RingBatchSender, RingReceiver, RingSender, Shared,
};
use super::links::{self, Crowd};
use super::mailbox::{
    Bytes8, Bytes56, Bytes64, Bytes1024, Bytes65536, Bytes1048576, Collected, Ends, Input, Numbered, Output,
    PING, PONG, Rendezvous,
};
use super::measure::{
    Drain, Echo, Exchange, Found, Measured, Source, drain, echo, pour, round_trips, swallow,
};
use super::regions;
use super::task::{self, Ready, TaskEnds};
use crate::exit::Failure;

/// What either side needs for any round.
pub struct Bench {
    pub shared: Shared,
    pub directory: PathBuf,
    pub domain: Domain,
}

/// Of an exchange that is a message there and one back, half is meant …
const BOTH_WAYS: f64 = 2.0;
/// … and of one that is a single call, all.
const ONE_CALL: f64 = 1.0;

const MEMORY: &str = "bench-memory";

impl Bench {
    /// The near side's view, made.
    pub fn create(directory: &Path) -> Measured<Self> {
        let path = directory.join(MEMORY);
        Ok(Self {
            shared: Shared::create(&path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?,
            directory: directory.to_path_buf(),
            domain: Domain::open(directory.join("domain"))?,
        })
    }

    /// The far side's view of the same.
    pub fn open(directory: &Path) -> Measured<Self> {
        let path = directory.join(MEMORY);
        Ok(Self {
            shared: Shared::open(&path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?,
            directory: directory.to_path_buf(),
            domain: Domain::open(directory.join("domain"))?,
        })
    }

    /// The near side of a round.
    pub fn near(&self, job: &Job, far: &mut Far) -> Measured<Found> {
        if job.what.is_in_files() {
            return files::near(self, job);
        }
        match job.bytes {
            8 => self.near_with::<8, Bytes8>(job, far),
            56 => self.near_with::<56, Bytes56>(job, far),
            64 => self.near_with::<64, Bytes64>(job, far),
            4096 => regions::near(self, job, far), // only there
            1024 => self.near_with::<1024, Bytes1024>(job, far),
            65536 => self.near_with::<65536, Bytes65536>(job, far),
            1048576 => self.near_with::<1048576, Bytes1048576>(job, far),
            other => Err(no_such_length(other)),
        }
    }

    /// The far side of it.
    pub fn far(&self, job: &Job, near: &mut Near) -> Measured<()> {
        super::machine::pin(job.cpu)?;
        match job.bytes {
            8 => self.far_with::<8, Bytes8>(job, near),
            56 => self.far_with::<56, Bytes56>(job, near),
            64 => self.far_with::<64, Bytes64>(job, near),
            1024 => self.far_with::<1024, Bytes1024>(job, near),
            65536 => self.far_with::<65536, Bytes65536>(job, near),
            1048576 => self.far_with::<1048576, Bytes1048576>(job, near),
            other => Err(no_such_length(other)),
        }
    }

    /// The near side of a round with several of each.
    pub fn crowd(&self, job: &Job, fars: &mut [Far], cpus: &[usize]) -> Measured<Found> {
        match job.bytes {
            8 => crowd::near::<Bytes8>(self, job, fars, cpus),
            56 => crowd::near::<Bytes56>(self, job, fars, cpus),
            other => Err(no_such_length(other)),
        }
    }

    fn near_with<const N: usize, T: Numbered>(&self, job: &Job, far: &mut Far) -> Measured<Found> {
        let spin = job.mode == Mode::Spin;
        let shared = &self.shared;
        match (job.what, job.measure) {
            (What::CacheLine, _) => {
                shared.clear();
                far.begin(job)?;
                trips(Line(shared), job, far)
            }
            (What::Copy, _) => {
                shared.clear();
                far.begin(job)?;
                trips(Copies::<N>::new(shared), job, far)
            }
            (What::Memcpy, Measure::Latency) => {
                round_trips(Memcpy::<N>::new(), BOTH_WAYS, job.time, job.rest)
            }
            // Each message is copied in and out, as by the two sides of a ring.
            (What::Memcpy, Measure::Stream) => drain(Memcpy::<N>::new(), job.time, lap(job.bytes)),
            (What::Futex, _) => {
                shared.clear();
                far.begin(job)?;
                trips(Futex::near(shared), job, far)
            }
            (What::Ring, _) => {
                let ring = RingSender::<N>::new(shared);
                far.begin(job)?;
                stream(ring, job, far)
            }
            (What::Link | What::KernelLink, measure) => {
                let me = links::join(&self.domain, links::NEAR, job.mode)?;
                far.begin(job)?;
                far.ready()?;
                let ends = links::ends::<T>(&me, links::FAR, job.what)?;
                match measure {
                    Measure::Latency => {
                        let found = round_trips(ends, BOTH_WAYS, job.time, job.rest)?;
                        far.done()?;
                        Ok(found)
                    }
                    Measure::Stream => {
                        pour(ends.0, job.time, lap(job.bytes))?;
                        far.done()?.ok_or_else(no_figure)
                    }
                }
            }
            (What::Pair, _) => {
                far.begin(job)?;
                far.ready()?; // it has a place for its end
                let ends = links::give_end::<T>(&self.domain, job.mode)?;
                far.ready()?;
                let found = round_trips(ends, BOTH_WAYS, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (What::Inbox1 | What::Inbox10 | What::Inbox100 | What::Inbox1000, _) => {
                let crowd = Crowd::of(&self.domain, job.what.links())?;
                round_trips(crowd, ONE_CALL, job.time, job.rest)
            }
            (What::Collected, _) => {
                far.begin(job)?;
                far.ready()?;
                let sender = Collected(Output::<T>::ping(&self.domain, job.mode)?);
                let found = round_trips(sender, ONE_CALL, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (What::Rendezvous, _) => {
                far.begin(job)?;
                far.ready()?;
                let sender = Rendezvous(Output::<T>::ping(&self.domain, job.mode)?);
                let found = round_trips(sender, ONE_CALL, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (What::RingBatch, _) => {
                let ring = RingBatchSender::<N>::new(shared);
                far.begin(job)?;
                stream(ring, job, far)
            }
            (What::Batch, _) => {
                far.begin(job)?;
                far.ready()?;
                pour(BatchOutput::open(&self.domain)?, job.time, lap(job.bytes))?;
                far.done()?.ok_or_else(no_figure)
            }
            (What::Loan, Measure::Latency) => {
                let input = LoanInput::own(&self.domain, PONG, N)?;
                far.begin(job)?;
                far.ready()?;
                let ends = LoanEnds(LoanOutput::open(&self.domain, PING, N)?, input);
                let found = round_trips(ends, BOTH_WAYS, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (What::Loan, Measure::Stream) => {
                far.begin(job)?;
                far.ready()?;
                pour(LoanOutput::open(&self.domain, PING, N)?, job.time, lap(job.bytes))?;
                far.done()?.ok_or_else(no_figure)
            }
            (What::Async, _) => {
                let inbox = task::inbox(&self.domain, PONG)?;
                far.begin(job)?;
                far.ready()?;
                let ends = TaskEnds::new(task::out(&self.domain, PING)?, inbox)?;
                let found = round_trips(ends, BOTH_WAYS, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (What::AsyncReady | What::RecvReady, _) => {
                let each = Ready::new(&self.domain, job.what == What::AsyncReady)?.receive(job.time)?;
                Ok(Found { latency_ns: Some([each; 3]), msgs_per_s: None })
            }
            (What::Call, _) => {
                far.begin(job)?;
                far.ready()?;
                let caller = Caller::open(&self.domain, job.mode)?;
                let found = round_trips(caller, ONE_CALL, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (
                What::Mailbox
                | What::SystemMailbox
                | What::Unbounded
                | What::FileMailbox
                | What::KernelMailbox
                | What::SealedMailbox,
                Measure::Latency,
            ) => {
                let input = Input::<T>::pong(&self.domain, job.what, job.mode)?;
                far.begin(job)?;
                far.ready()?;
                let output = Output::<T>::ping(&self.domain, job.mode)?;
                let found = round_trips(Ends(output, input), BOTH_WAYS, job.time, job.rest)?;
                far.done()?;
                Ok(found)
            }
            (
                What::Mailbox
                | What::SystemMailbox
                | What::Unbounded
                | What::FileMailbox
                | What::KernelMailbox
                | What::SealedMailbox,
                Measure::Stream,
            ) => {
                far.begin(job)?;
                far.ready()?;
                let output = Output::<T>::ping(&self.domain, job.mode)?;
                pour(output, job.time, lap(job.bytes))?;
                far.done()?.ok_or_else(no_figure)
            }
            (
                What::RegionRead
                | What::RegionGet
                | What::RegionWrite
                | What::RegionRange1m
                | What::RegionRange256m
                | What::InPlaceGet
                | What::InPlaceWrite
                | What::RwlockRead
                | What::RwlockWrite
                | What::SeqlockRead,
                _,
            ) => regions::near(self, job, far),
            (
                What::FileAppend
                | What::FileEach
                | What::FileEachOf8
                | What::FileReplay
                | What::MmapAppend
                | What::Fdatasync,
                _,
            ) => files::near(self, job),
            (What::Pipe, measure) => {
                let names = Names::in_directory(&self.directory);
                names.make_pipes()?;
                far.begin(job)?;
                let pipe = Pipe::<N>::near(&names, spin)?;
                names.remove();
                either(pipe, measure, job, far)
            }
            (What::Packets, measure) => {
                let names = Names::in_directory(&self.directory);
                let listener = names.listen_for_packets()?;
                far.begin(job)?;
                let packets = Packets::<N>::near_by_packets(&listener, spin)?;
                names.remove();
                either(packets, measure, job, far)
            }
            (What::UnixSocket, measure) => {
                let names = Names::in_directory(&self.directory);
                let listener = names.listen()?;
                far.begin(job)?;
                let socket = Socket::<N>::near(&listener, spin)?;
                names.remove();
                either(socket, measure, job, far)
            }
        }
    }

    fn far_with<const N: usize, T: Numbered>(&self, job: &Job, near: &mut Near) -> Measured<()> {
        let spin = job.mode == Mode::Spin;
        let shared = &self.shared;
        let names = Names::in_directory(&self.directory);
        if job.part != Part::Whole {
            return crowd::far::<T>(self, job, near);
        }
        match (job.what, job.measure) {
            (What::CacheLine, _) => answer(Line(shared), near),
            (What::Copy, _) => answer(Copies::<N>::new(shared), near),
            (What::Futex, _) => answer(Futex::far(shared), near),
            (What::Memcpy, _) => Ok(()), // the near one does it alone
            (What::Ring, _) => collect(RingReceiver::<N>::new(shared), job, near),
            (What::RingBatch, _) => collect(RingBatchReceiver::<N>::new(shared), job, near),
            (What::Batch, _) => collect(BatchInput::own(&self.domain)?, job, near),
            (What::Loan, Measure::Latency) => {
                let input = LoanInput::own(&self.domain, PING, N)?;
                near.ready()?;
                echo(LoanEnds(LoanOutput::open(&self.domain, PONG, N)?, input))?;
                near.done(None)
            }
            (What::Loan, Measure::Stream) => collect(LoanInput::own(&self.domain, PING, N)?, job, near),
            (What::Async, _) => {
                let inbox = task::inbox(&self.domain, PING)?;
                let out = task::out(&self.domain, PONG)?;
                near.ready()?;
                echo(TaskEnds::new(out, inbox)?)?;
                near.done(None)
            }
            (What::Link | What::KernelLink, measure) => {
                let me = links::join(&self.domain, links::FAR, job.mode)?;
                let ends = links::ends::<T>(&me, links::NEAR, job.what)?;
                match measure {
                    Measure::Latency => answer(ends, near),
                    Measure::Stream => collect(ends.1, job, near),
                }
            }
            (What::Pair, _) => {
                let place = links::place_for_end(&self.domain)?;
                near.ready()?;
                answer(links::take_end::<T>(&place, job.mode)?, near)
            }
            // The near one does it alone.
            (What::AsyncReady | What::RecvReady, _) => Ok(()),
            (What::Inbox1 | What::Inbox10 | What::Inbox100 | What::Inbox1000, _) => Ok(()),
            (What::Collected | What::Rendezvous, _) => {
                let input = Input::<T>::ping(&self.domain, job.what, job.mode)?;
                near.ready()?;
                swallow(input)?;
                near.done(None)
            }
            (What::Call, _) => {
                let answerer = Answerer::own(&self.domain, job.mode)?;
                near.ready()?;
                answerer.answer_all()?;
                near.done(None)
            }
            (
                What::Mailbox
                | What::SystemMailbox
                | What::Unbounded
                | What::FileMailbox
                | What::KernelMailbox
                | What::SealedMailbox,
                Measure::Latency,
            ) => {
                let input = Input::<T>::ping(&self.domain, job.what, job.mode)?;
                let output = Output::<T>::pong(&self.domain, job.mode)?;
                answer(Ends(output, input), near)
            }
            (
                What::Mailbox
                | What::SystemMailbox
                | What::Unbounded
                | What::FileMailbox
                | What::KernelMailbox
                | What::SealedMailbox,
                Measure::Stream,
            ) => collect(Input::<T>::ping(&self.domain, job.what, job.mode)?, job, near),
            (
                What::RegionRead
                | What::RegionGet
                | What::RegionWrite
                | What::RegionRange1m
                | What::RegionRange256m
                | What::InPlaceGet
                | What::InPlaceWrite
                | What::RwlockRead
                | What::RwlockWrite
                | What::SeqlockRead,
                _,
            ) => regions::far(self, job, near),
            (What::Pipe, Measure::Latency) => answer(Pipe::<N>::far(&names, spin)?, near),
            (What::Pipe, Measure::Stream) => collect(Pipe::<N>::far(&names, spin)?, job, near),
            (What::Packets, Measure::Latency) => answer(Packets::<N>::far_by_packets(&names, spin)?, near),
            (What::Packets, Measure::Stream) => {
                collect(Packets::<N>::far_by_packets(&names, spin)?, job, near)
            }
            (What::UnixSocket, Measure::Latency) => answer(Socket::<N>::far(&names, spin)?, near),
            (
                What::FileAppend
                | What::FileEach
                | What::FileEachOf8
                | What::FileReplay
                | What::MmapAppend
                | What::Fdatasync,
                _,
            ) => files::far(self, job, near),
            (What::UnixSocket, Measure::Stream) => collect(Socket::<N>::far(&names, spin)?, job, near),
        }
    }
}

fn trips(subject: impl Exchange, job: &Job, far: &mut Far) -> Measured<Found> {
    far.ready()?;
    let found = round_trips(subject, BOTH_WAYS, job.time, job.rest)?;
    far.done()?;
    Ok(found)
}

fn stream(subject: impl Source, job: &Job, far: &mut Far) -> Measured<Found> {
    far.ready()?;
    pour(subject, job.time, lap(job.bytes))?;
    far.done()?.ok_or_else(no_figure)
}

fn either(subject: impl Exchange + Source, measure: Measure, job: &Job, far: &mut Far) -> Measured<Found> {
    match measure {
        Measure::Latency => trips(subject, job, far),
        Measure::Stream => stream(subject, job, far),
    }
}

fn answer(subject: impl Echo, near: &mut Near) -> Measured<()> {
    near.ready()?;
    echo(subject)?;
    near.done(None)
}

fn collect(subject: impl Drain, job: &Job, near: &mut Near) -> Measured<()> {
    near.ready()?;
    let found = drain(subject, job.time, lap(job.bytes))?;
    near.done(Some(found))
}

fn no_such_length(bytes: u64) -> Failure {
    Failure::failed(format!("messages of {bytes} bytes are not measured"))
}

fn no_figure() -> Failure {
    Failure::failed("the receiver of a stream took no figure")
}
