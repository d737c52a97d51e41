//! A log on disk: messages in files, which outlive processes and machines that stop.
//!
//! [`store`] is the directory, [`file`] one file of records, [`letter`] what a record holds, [`records`] how they are appended and walked over, [`marks`] who receives which, [`words`] what the
//! words say, [`recovery`] what is done when a log is opened that nobody uses, [`place`] how far an independent reader is, [`senders`] who sent. Nothing here waits, and
//! nothing knows of a mailbox: that is `strategy::file`.
//!
//! **Order on the disk.** The kernel writes pages when it likes, in any order. So:
//! - A record is believed for its check sum, which covers the log's id and the record's number, and for nothing else.
//! - *Durable up to n* is said only when all records before n are committed or skipped, and all files that have them, with their names, were
//!   synced since. So what follows a hole was never said to be durable.
//! - Opening a log that nobody uses looks through what was not known to be durable, makes holes records without a message, and wipes and syncs what is
//!   behind the last record, with its marks, before anybody appends: else old bytes would come to life behind new ones.
//! - What was consumed is marked beside the records. Such a mark may be lost with the power; then the message comes again.
//!
//! # Safety
//!
//! `unsafe` is here where mapped files are touched: in `file` and `place`, and where messages are copied out of them: in `letter`.

#![allow(unsafe_code)]

pub(crate) mod described;
pub(crate) mod file;
pub(crate) mod letter;
pub(crate) mod marks;
pub(crate) mod place;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod senders;
pub(crate) mod store;
pub(crate) mod words;

use crate::error::Error;
use crate::os::Errno;
use std::path::Path;

/// What the system refused.
pub(crate) fn trouble(doing: &'static str, path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::Denied { doing, path: path.into(), whose: None },
        Errno::NOSPC | Errno::DQUOT => {
            Error::DiskFull { wanted: 4096, available: crate::os::file::available(path), path: path.into() }
        }
        _ => Error::Os { doing, path: path.into(), errno: errno.raw_os_error() },
    }
}
