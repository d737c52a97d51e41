//! Executors that futures are run on: each wakes its tasks in its own way.

use std::future::Future;

/// Whoever polls.
#[derive(Clone, Copy, Debug)]
pub enum Executor {
    /// One that knows nothing but wakers.
    Plain,
    Tokio,
    TokioOfThreads,
}

impl Executor {
    pub fn run<R>(self, future: impl Future<Output = R>) -> R {
        use tokio::runtime::Builder;
        let tokio = |mut builder: Builder| builder.enable_all().build().expect("a runtime");
        match self {
            Executor::Plain => futures_executor::block_on(future),
            Executor::Tokio => tokio(Builder::new_current_thread()).block_on(future),
            Executor::TokioOfThreads => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(2);
                tokio(builder).block_on(future)
            }
        }
    }
}

/// Runs a test with each; a failure is preceded by its name.
pub fn on_every_executor(mut test: impl FnMut(Executor)) {
    for executor in [Executor::Plain, Executor::Tokio, Executor::TokioOfThreads] {
        let told = Tell(executor);
        test(executor);
        std::mem::forget(told);
    }
}

struct Tell(Executor);

impl Drop for Tell {
    fn drop(&mut self) {
        eprintln!("on the executor {:?}", self.0);
    }
}
