//! A thread that the host program does not notice.

use std::thread::{Builder, JoinHandle};

/// Starts a small thread that no signal is ever delivered to.
pub(crate) fn spawn_quietly(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    // SAFETY: sigset_t is plain integers; the calls get valid pointers. A thread inherits
    // the mask of the one that starts it, which gets its own back at once.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let thread = Builder::new().name(name.into()).stack_size(64 << 10).spawn(run);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        thread
    }
}
