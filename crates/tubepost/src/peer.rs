//! A process as others are told of it.

/// Who sent a message, who owns a mailbox.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-peer-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("readings")?;
/// let out = tubepost::Sender::<u64>::options().domain(&domain).member("sensor-7").open("readings")?;
/// out.send(1)?;
/// let envelope = inbox.recv_envelope()?;
/// assert_eq!(envelope.sender.name, "sensor-7");
/// assert_eq!(envelope.sender.pid, std::process::id());
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its process id, in its own pid namespace.
    pub pid: u32,
    /// The name it gave itself; by default the program's.
    pub name: String,
}
