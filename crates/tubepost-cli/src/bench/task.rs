//! Tasks that receive: what waits is a future, in a runtime of tokio with one thread.

use std::hint::black_box;

use tokio::runtime::{Builder, Runtime};
use tubepost::{Domain, Mailbox, Receiver, Sender};

use super::job::Mode;
use super::mailbox::spin;
use super::measure::{Echo, Exchange, Measured};
use crate::exit::Failure;

/// Numbers, received by a task.
pub struct TaskEnds {
    out: Sender<u64>,
    inbox: Receiver<u64>,
    runtime: Runtime,
}

impl TaskEnds {
    pub fn new(out: Sender<u64>, inbox: Receiver<u64>) -> Measured<Self> {
        let runtime = Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(|e| Failure::failed(format!("a runtime for tasks: {e}")))?;
        Ok(Self { out, inbox, runtime })
    }

    fn receive(&self) -> Measured<u64> {
        Ok(self.runtime.block_on(self.inbox.recv_async())?)
    }
}

/// A mailbox for one end.
pub fn inbox(domain: &Domain, name: &str) -> Measured<Receiver<u64>> {
    Ok(Mailbox::<u64>::options().domain(domain).spin(spin(Mode::Block)).own(name)?)
}

pub fn out(domain: &Domain, name: &str) -> Measured<Sender<u64>> {
    Ok(Sender::<u64>::options().domain(domain).spin(spin(Mode::Block)).open(name)?)
}

impl Exchange for TaskEnds {
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.out.send(seq)?;
        self.receive()
    }
}

impl Echo for TaskEnds {
    fn take(&mut self, _last: u64) -> Measured<u64> {
        self.receive()
    }

    fn answer(&mut self, seq: u64) -> Measured<()> {
        Ok(self.out.send(seq)?)
    }
}

/// A message that is sent and received at once, by the same thread, or by a task that it runs.
pub struct Ready {
    out: Sender<u64>,
    inbox: Receiver<u64>,
    by_task: bool,
}

impl Ready {
    pub fn new(domain: &Domain, by_task: bool) -> Measured<Self> {
        const NAME: &str = "bench/ready";
        let inbox = inbox(domain, NAME)?;
        Ok(Self { out: out(domain, NAME)?, inbox, by_task })
    }

    /// How long receiving takes, for `time`: that of many messages that are there, divided by their number.
    pub fn receive(&self, time: std::time::Duration) -> Measured<f64> {
        use std::time::{Duration, Instant};
        const MANY: u64 = 512;
        let runtime = Builder::new_current_thread().build();
        let runtime = runtime.map_err(|e| Failure::failed(format!("a runtime for tasks: {e}")))?;
        let (begin, mut took, mut rounds) = (Instant::now(), Duration::ZERO, 0);
        while begin.elapsed() < time || rounds < 2 {
            (0..MANY).try_for_each(|seq| self.out.send(seq))?;
            let started = Instant::now();
            if self.by_task {
                runtime.block_on(async {
                    for _ in 0..MANY {
                        black_box(self.inbox.recv_async().await?);
                    }
                    Ok::<(), tubepost::RecvError>(())
                })?;
            } else {
                for _ in 0..MANY {
                    black_box(self.inbox.recv()?);
                }
            }
            took += started.elapsed();
            rounds += 1;
        }
        Ok(took.as_nanos() as f64 / (MANY * rounds) as f64)
    }
}
