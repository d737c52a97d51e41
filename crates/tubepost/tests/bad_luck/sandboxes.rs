//! Pairs with a process that has nothing but what it was handed: no file system, no privileges, no way to open anything.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use tubepost::{Error, Hand, Link, Strategy};

use crate::stage::{Child, Cue, Role, become_user, is_root, leave_files_behind, refuse_opening, skip};

pub const ROLES: &[Role] = &[("prisoner", prisoner)];

const NOBODY: u32 = 65534;

/// Goes into the empty directory, gives up what it may, then works.
fn prisoner(cue: &mut Cue) {
    leave_files_behind(cue.arg(0)).expect("the test made sure of that");
    if is_root() && cue.arg(1) == "root" {
        become_user(NOBODY);
    }
    refuse_opening();
    assert!(std::fs::read_dir("/proc").is_err() && std::fs::File::open("/dev/null").is_err());
    let host = match tubepost::inherited::<u64, str>() {
        Ok(host) => host,
        Err(error) => return cue.say(error),
    };
    cue.say("taken");
    // In a thread, as a task, and then for ever.
    let text = host.recv().expect("the host sends");
    host.send(text.len() as u64).expect("the host receives");
    let text = block_on(host.receiver().recv_async()).expect("the host sends");
    host.send(text.len() as u64).expect("the host receives");
    let bell = host.receiver().doorbell().expect("that is a socket");
    assert!(!bell.clear().expect("ours"));
    cue.say("waiting");
    let end = block_on(host.receiver().recv_async());
    cue.say(format!("{:?}", end.is_err()));
}

/// An empty directory that is gone with this.
struct Empty(String);

impl Empty {
    fn new() -> Empty {
        let path = format!("/dev/shm/tubepost-test-empty-{}", std::process::id());
        let _ = std::fs::remove_dir(&path);
        std::fs::create_dir(&path).expect("a fresh directory");
        Empty(path)
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_child_needs_nothing_but_its_end() {
    if !is_root() {
        return skip("a_child_needs_nothing_but_its_end", "only root may chroot");
    }
    let empty = Empty::new();
    let strategies = [Strategy::Shared, Strategy::Kernel];
    for (strategy, dies) in strategies.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        let options = Link::<str, u64>::options().strategy(strategy);
        let (link, endpoint) = options.pair().expect("descriptors are left");
        let mut child = Child::start_handing("prisoner", &[&empty.0, "root"], |command| {
            command.hand(endpoint).expect("a socket").spawn()
        });
        child.expect("taken");
        assert_eq!(link.peer().pid, child.pid());
        link.send("sesame").expect("it receives");
        assert_eq!(link.recv(), Ok(6));
        // As a task at both ends; nobody looks only once a second.
        let begin = Instant::now();
        block_on(link.sender().send_async(&"x".repeat(5000))).expect("it receives");
        assert_eq!(block_on(link.receiver().recv_async()), Ok(5000));
        child.expect("waiting");
        assert!(begin.elapsed() < Duration::from_secs(5));
        if dies {
            let begin = Instant::now();
            child.kill();
            assert!(link.recv().is_err_and(|error| error.is_closed()));
            assert!(link.send("still there?").is_err());
            assert!(begin.elapsed() < Duration::from_millis(700), "told after {:?}", begin.elapsed());
        } else {
            drop(link);
            child.expect("true");
            child.finish();
        }
    }
}

/// What is no end of a pair, or no whole one, is refused with a reason, whatever it is.
#[test]
fn what_is_no_end_of_a_pair_is_refused() {
    let take = |descriptor: OwnedFd| Link::<u64>::options().from_descriptor(descriptor);
    let refused = |descriptor: OwnedFd, why: &str| match take(descriptor) {
        Err(Error::NotHanded { why: given, .. }) => assert!(given.contains(why), "{given}"),
        other => panic!("{other:?} instead of {why:?}"),
    };
    let file = || std::fs::File::open("/dev/null").expect("/dev/null");
    refused(file().into(), "no end");
    let (one, two) = std::os::unix::net::UnixStream::pair().expect("descriptors are left");
    refused(one.into(), "no end");
    drop(two);
    let sockets = || {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        socketpair(kind.0, kind.1, kind.2, None).expect("descriptors are left")
    };
    let (one, _two) = sockets();
    refused(one, "taken already");
    let (one, two) = sockets();
    rustix::io::write(&two, &[7; 24]).expect("there is room");
    refused(one, "not what a pair consists of");
    let (one, two) = sockets();
    rustix::io::write(&two, &[7; 5000]).expect("there is room");
    refused(one, "not what a pair consists of");
    // The right word, and descriptors of something else, or none.
    let mut word = [0; 24];
    word[..8].copy_from_slice(b"tubepair");
    word[8] = 1;
    let (one, two) = sockets();
    rustix::io::write(&two, &word).expect("there is room");
    refused(one, "not what a pair consists of");
    let nulls: Vec<OwnedFd> = (0..4).map(|_| file().into()).collect();
    let (one, two) = sockets();
    send_with(&two, &word, &nulls);
    refused(one, "no sealed memory");
    // An open memory file that may still be made shorter; and one that is sealed, and nothing else.
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let memory = memfd_create("mine", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).expect("memory");
    ftruncate(&memory, 1 << 16).expect("memory");
    let four = |memory: &OwnedFd| (0..4).map(|_| memory.try_clone().expect("open")).collect::<Vec<_>>();
    let (one, two) = sockets();
    send_with(&two, &word, &four(&memory));
    refused(one, "no sealed memory");
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).expect("allowed");
    let (one, two) = sockets();
    send_with(&two, &word, &four(&memory));
    refused(one, "not locked");
}

fn send_with(socket: &OwnedFd, word: &[u8], descriptors: &[OwnedFd]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    sendmsg(socket, &[std::io::IoSlice::new(word)], &mut control, SendFlags::empty()).expect("there is room");
}
