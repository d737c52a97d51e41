//! Doors of a process that waits in tokio runtimes: their reactors hear when one is rung, and no thread has to be
//! woken in between.
//!
//! A runtime in which somebody waits at a door has a task of ours, which waits for the socket and wakes those
//! who wait. There is one for each runtime: one that does not run just now hears nothing, and must not be
//! the only one that listens. When a runtime ends, its task is dropped; then whoever waits looks for another.

use super::door::Door;
use crate::os::Errno;
use std::fmt;
use std::io;
use std::os::unix::net;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

/// The runtimes that listen at a door.
#[derive(Default)]
pub(super) struct Reactors(Mutex<Vec<Reactor>>);

struct Reactor {
    runtime: Id,
    task: AbortHandle,
    gone: Arc<AtomicBool>,
}

impl fmt::Debug for Reactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reactors").field(&self.all().len()).finish()
    }
}

impl Reactors {
    fn all(&self) -> MutexGuard<'_, Vec<Reactor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody listens any more.
    pub(super) fn stop(&self) {
        let all = std::mem::take(&mut *self.all());
        all.iter().for_each(|reactor| reactor.task.abort());
    }
}

impl Door {
    /// Has the reactor of the runtime that we are in listen, if we are in one.
    pub(super) fn listen_in_runtime(self: &Arc<Self>) -> Result<bool, Errno> {
        let Ok(runtime) = Handle::try_current() else { return Ok(false) };
        let id = runtime.id();
        if self.reactors.all().iter().any(|reactor| reactor.runtime == id) {
            return Ok(true);
        }
        // A descriptor of its own, for it goes with the runtime.
        let socket = self.socket.try_clone().map(net::UnixDatagram::from).and_then(UnixDatagram::from_std);
        let socket = socket.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        // Not under the lock: a runtime that ends drops the task at once. Two of one runtime do no harm.
        let gone = Arc::new(AtomicBool::new(false));
        let listening = Listening { door: Arc::downgrade(self), gone: Arc::clone(&gone) };
        let task = runtime.spawn(listen(socket, listening)).abort_handle();
        let mut all = self.reactors.all();
        let listens = !gone.load(Relaxed);
        if listens {
            all.push(Reactor { runtime: id, task, gone });
        }
        Ok(listens)
    }
}

/// Goes with the task.
struct Listening {
    door: Weak<Door>,
    gone: Arc<AtomicBool>,
}

async fn listen(socket: UnixDatagram, listening: Listening) {
    // An error: the runtime ends.
    while socket.readable().await.is_ok() {
        let Some(door) = listening.door.upgrade() else { return };
        // The reactor forgets that it was readable, unless it became so anew meanwhile.
        let _ = socket.try_io(Interest::READABLE, || {
            door.rung();
            Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(door) = self.door.upgrade() {
            {
                let mut all = door.reactors.all();
                self.gone.store(true, Relaxed); // under the lock
                all.retain(|reactor| !Arc::ptr_eq(&reactor.gone, &self.gone));
            }
            door.wake_tasks();
        }
    }
}
