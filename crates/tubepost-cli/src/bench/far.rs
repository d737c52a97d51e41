//! The far process: spawned once, told what to do on its standard input, answering on its output.
//!
//! It dies with the near one whatever it is doing, even in a spin. The other way round a thread of the
//! near process waits for the far one's end, and an end that was not asked for ends the benchmark.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::measure::{Found, Measured};
use crate::exit::Failure;
use crate::second::{self, end_with_parent};

/// What the far process says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// Everything is in place, begin.
    Ready,
    /// The round is over; a stream's figure is taken by its receiver.
    Done(Option<Found>),
}

/// The near process's handle on it.
pub struct Far {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    wanted: Arc<AtomicBool>,
}

impl Far {
    /// Starts it; `lost` is called if it ends before this handle does.
    pub fn spawn(directory: &Path, lost: impl FnOnce() + Send + 'static) -> Measured<Self> {
        let trouble = |e| Failure::failed(format!("the second process of the benchmark did not start: {e}"));
        let mut child = second::command(super::FAR, &[directory.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(trouble)?;
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let wanted = Arc::new(AtomicBool::new(true));
        let still_wanted = wanted.clone();
        let pid = Pid::from_child(&child);
        std::thread::spawn(move || {
            // It stays to be reaped by `drop`: its number cannot be given to anyone else meanwhile.
            let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), end) {}
            if still_wanted.load(Ordering::SeqCst) {
                lost();
            }
        });
        Ok(Self { child, input, output: BufReader::new(output), wanted })
    }

    /// Has it begin a round.
    pub fn begin(&mut self, job: &Job) -> Measured<()> {
        say(&mut self.input, job)
    }

    /// Waits until it is ready to be measured.
    pub fn ready(&mut self) -> Measured<()> {
        match self.hear()? {
            Word::Ready => Ok(()),
            Word::Done(_) => Err(lost_thread()),
        }
    }

    /// Waits until it is through with the round.
    pub fn done(&mut self) -> Measured<Option<Found>> {
        match self.hear()? {
            Word::Done(found) => Ok(found),
            Word::Ready => Err(lost_thread()),
        }
    }

    fn hear(&mut self) -> Measured<Word> {
        hear(&mut self.output)?.ok_or_else(lost_thread)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::SeqCst);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The far process's end of the conversation.
pub struct Near {
    input: BufReader<std::io::Stdin>,
    output: std::io::Stdout,
}

impl Near {
    /// To be called first thing by the far process.
    pub fn attach(parent: u32) -> Measured<Self> {
        end_with_parent(parent)?;
        Ok(Self { input: BufReader::new(std::io::stdin()), output: std::io::stdout() })
    }

    /// The next round, or none if there are no more.
    pub fn next(&mut self) -> Measured<Option<Job>> {
        hear(&mut self.input)
    }

    pub fn ready(&mut self) -> Measured<()> {
        say(&mut self.output, &Word::Ready)
    }

    pub fn done(&mut self, found: Option<Found>) -> Measured<()> {
        say(&mut self.output, &Word::Done(found))
    }
}

fn say(to: &mut impl Write, what: &impl Serialize) -> Measured<()> {
    let mut line = serde_json::to_vec(what).map_err(Failure::failed)?;
    line.push(b'\n');
    to.write_all(&line).and_then(|()| to.flush()).map_err(|_| lost_thread())
}

fn hear<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> Measured<Option<T>> {
    let mut line = String::new();
    let length = from.read_line(&mut line).map_err(Failure::failed)?;
    if length == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(Failure::failed)
}

fn lost_thread() -> Failure {
    Failure::failed("the two processes of the benchmark lost each other; run it again")
}
