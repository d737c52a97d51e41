//! What comes and goes in the domain, told by the kernel: nothing is looked at again and again.

use crate::error::Error;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tubepost::Domain;

/// A watch on the names of a domain.
#[derive(Debug)]
pub(crate) struct Watch {
    told: AsyncFd<OwnedFd>,
}

/// What may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// These names.
    Names(Vec<String>),
    /// Anything: so much happened that some of it was not told.
    Anything,
}

impl Watch {
    pub(crate) fn new(domain: &Domain) -> Result<Watch, Error> {
        const DOING: &str = "watch the domain (see fs.inotify.max_user_instances)";
        let told =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(Error::system(DOING))?;
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&told, domain.path(), flags).map_err(Error::system(DOING))?;
        #[expect(deprecated, reason = "what is owned here stays open as long as it is registered")]
        let told = AsyncFd::new(told).map_err(Error::system(DOING))?;
        Ok(Watch { told })
    }

    /// Waits until something came or went.
    pub(crate) async fn changed(&self) -> Result<Changed, Error> {
        loop {
            let mut ready = self.told.readable().await.map_err(Error::system("watch the domain"))?;
            match self.read() {
                Err(Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(errno) => return Err(Error::system("watch the domain")(errno)),
                Ok(Changed::Names(names)) if names.is_empty() => ready.clear_ready(),
                Ok(changed) => return Ok(changed),
            }
        }
    }

    fn read(&self) -> Result<Changed, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.told.get_ref(), &mut buffer);
        let mut names = Vec::new();
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    return Ok(Changed::Anything);
                }
                Ok(event) => {
                    // A file has `,` where the name has `/`; what is none is not found by it.
                    let name = event.file_name().map(|file| file.to_string_lossy().replace(',', "/"));
                    names.extend(name.filter(|name| !names.contains(name)));
                }
                Err(Errno::WOULDBLOCK) if !names.is_empty() => return Ok(Changed::Names(names)),
                Err(errno) => return Err(errno),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tubepost::Mailbox;

    #[tokio::test]
    async fn what_comes_and_goes_is_told_by_its_name() {
        let path = format!("/dev/shm/tubepost-bridge-watch-{}", std::process::id());
        let domain = Domain::open(&path).unwrap();
        let watch = Watch::new(&domain).unwrap();
        for _ in 0..2 {
            let inbox = Mailbox::<u64>::options().domain(&domain).own("a/b").unwrap();
            assert_eq!(watch.changed().await.unwrap(), Changed::Names(vec!["a/b".into()]));
            drop(inbox);
            assert_eq!(watch.changed().await.unwrap(), Changed::Names(vec!["a/b".into()]));
        }
        std::fs::remove_dir(&path).unwrap();
    }
}
