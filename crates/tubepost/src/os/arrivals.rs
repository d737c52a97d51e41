//! Being told of what comes into a directory.

use super::Errno;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// So often it is read what has come, after one wait.
const MOST_READS: u32 = 1000;

/// Hears of each name that appears in a directory, from when it was made.
pub(crate) struct Arrivals(OwnedFd);

impl Arrivals {
    pub(crate) fn at(directory: &Path) -> Result<Arrivals, Errno> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, directory, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO)?;
        Ok(Arrivals(fd))
    }

    /// Sleeps until something has come, but not longer than this.
    pub(crate) fn wait(&self, longest: Duration) {
        // An interruption is as good as an arrival: whoever waits looks.
        let longest = longest.try_into().ok();
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], longest.as_ref());
        let mut buffer = [0; 4096];
        // Not for ever: names may come as fast as this reads. What is left wakes the next wait at once.
        for _ in 0..MOST_READS {
            if !rustix::io::read(&self.0, &mut buffer).is_ok_and(|read| read > 0) {
                break;
            }
        }
    }
}
