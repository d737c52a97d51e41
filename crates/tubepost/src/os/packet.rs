//! Connections by which the kernel carries packets, each whole (`SOCK_SEQPACKET`), and who is at the other end.
//!
//! Nothing here waits. A packet has a head of fixed length and the rest; both go and come in one call, from and to where they
//! belong. Descriptors go with it.

use super::{Errno, door};
use rustix::fs::{Gid, Mode, OFlags, chmod, chown, fcntl_setfl};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, accept_with, bind, connect, listen, shutdown,
    socket_with, socketpair, sockopt,
};
use std::io::Error;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of a packet's head.
pub(crate) const HEAD: usize = 24;

/// So many descriptors go with a packet at most.
pub(crate) const MOST_DESCRIPTORS: usize = 64;
/// Bytes of control data: for as many descriptors as the kernel lets anybody send with one.
const CONTROL: usize = 1040;

/// How many connections wait to be accepted, unless the system allows fewer.
const BACKLOG: i32 = 4096;
/// One more than that waits, at most: who accepts so many has accepted all who had connected before.
pub(crate) const MOST_WAITING: u32 = BACKLOG as u32 + 1;
/// So many are accepted between two looks at those that are there: who connects as fast as anybody accepts keeps nobody else waiting.
pub(crate) const AT_ONCE: u32 = 16;
/// So long one waits in the kernel's queue for a place, and then comes again: nobody relies on being woken.
const A_TRY: Duration = Duration::from_millis(100);

/// Longer packets are not tried: most of one has to be in one piece of the kernel's memory, and there is none of that length.
const LONGEST: usize = 1 << 24;

/// Who made a connection, by the kernel's word.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) pid: u32,
    pub(crate) user: u32,
    /// Its group, and those it is in besides.
    pub(crate) groups: Vec<u32>,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    /// Bytes of the packet, its head with them; 0: nobody is there any more.
    pub(crate) length: usize,
    /// It was longer than the room for it.
    pub(crate) cut: bool,
    /// It had descriptors of which not all are here.
    pub(crate) lost: bool,
}

fn last() -> Errno {
    Errno::from_raw_os_error(Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

fn fresh() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// A connection of which nobody else has either end.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// A socket to connect to, that is called so. Who may write to the name may connect.
pub(crate) fn offer(directory: &Path, name: &str, mode: u32, group: Option<u32>) -> Result<OwnedFd, Errno> {
    let socket = fresh()?;
    door::at(directory, name, |address| bind(&socket, address))?;
    let path = directory.join(name);
    let permitted = match group {
        Some(group) => chown(&path, None, Some(Gid::from_raw(group))),
        None => Ok(()),
    };
    // Nobody can connect before it listens.
    let listening = permitted
        .and_then(|()| chmod(&path, Mode::from_raw_mode(mode)))
        .and_then(|()| listen(&socket, BACKLOG));
    match listening {
        Ok(()) => Ok(socket),
        Err(errno) => {
            door::remove(directory, name);
            Err(errno)
        }
    }
}

/// Connects. `AGAIN`: as many wait to be accepted as can, and did so for all the time that we have; `CONNREFUSED`, `NOENT`: nobody listens.
pub(crate) fn reach(directory: &Path, name: &str, patience: Duration) -> Result<OwnedFd, Errno> {
    let socket = fresh()?;
    match door::at(directory, name, |address| connect(&socket, address)) {
        Err(Errno::AGAIN) if !patience.is_zero() => {}
        done => return done.map(|()| socket),
    }
    // In the kernel's own queue of those who wait for a place: who comes often has no better chance there.
    let end = Instant::now() + patience;
    fcntl_setfl(&socket, OFlags::empty())?;
    loop {
        let left = end.saturating_duration_since(Instant::now()).min(A_TRY);
        if left.is_zero() {
            return Err(Errno::AGAIN);
        }
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left))?;
        match door::at(directory, name, |address| connect(&socket, address)) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(()) => break,
        }
    }
    fcntl_setfl(&socket, OFlags::NONBLOCK)?;
    Ok(socket)
}

/// How many connections wait to be accepted where no more can, as far as can be told from here.
pub(crate) fn most_waiting() -> u64 {
    let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
    let system = system.and_then(|number| number.trim().parse().ok());
    u64::from(MOST_WAITING).min(system.map_or(u64::MAX, |number: u64| number + 1))
}

/// Accepts a connection. `AGAIN`: there is none.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Who connected.
pub(crate) fn who(socket: BorrowedFd<'_>) -> Result<Who, Errno> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` is ours and as long as we say.
    let done = unsafe {
        let room = (&raw mut peer).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, room, &raw mut length)
    };
    if done != 0 {
        return Err(last());
    }
    let mut groups = vec![peer.gid];
    let mut more = [0u32; 256];
    let mut length = size_of_val(&more) as libc::socklen_t;
    // SAFETY: `more` is ours and as long as we say. (Who is in more groups than that is in none of them for us.)
    let done = unsafe {
        let room = more.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERGROUPS, room, &raw mut length)
    };
    if done == 0 {
        groups.extend(more.iter().take(length as usize / size_of::<u32>()));
    }
    Ok(Who { pid: u32::try_from(peer.pid).unwrap_or(0), user: peer.uid, groups })
}

/// Lets so many bytes be under way from this end, if the system lets us; gives how many may be.
pub(crate) fn widen(socket: BorrowedFd<'_>, bytes: u64) -> u64 {
    // The kernel doubles what it is told.
    let half =
        libc::c_int::try_from(bytes.div_ceil(2)).unwrap_or(libc::c_int::MAX / 2).min(libc::c_int::MAX / 2);
    for option in [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF] {
        // SAFETY: `half` is ours and as long as we say.
        let done = unsafe {
            let (value, length) = ((&raw const half).cast(), size_of::<libc::c_int>() as libc::socklen_t);
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length)
        };
        if done == 0 {
            break;
        }
    }
    sockopt::socket_send_buffer_size(socket).unwrap_or(0) as u64
}

/// Sends a packet, whole or not at all, with copies of these descriptors. `AGAIN`: too much is under way; `TOOMANYREFS`: too many descriptors are.
#[inline]
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    head: &[u8; HEAD],
    rest: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut parts = [
        libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: HEAD },
        libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() },
    ];
    // SAFETY: a msghdr is numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    let mut control = [0u64; CONTROL / 8];
    if !descriptors.is_empty() {
        enclose(&mut message, &mut control, descriptors)?;
    }
    loop {
        // SAFETY: the parts, and the control data, are ours, and the kernel only reads them.
        let sent = unsafe {
            libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
        if sent >= 0 {
            return Ok(());
        }
        match last() {
            Errno::INTR => {}
            errno => return Err(errno),
        }
    }
}

/// Has a message carry descriptors.
#[cold]
fn enclose(
    message: &mut libc::msghdr,
    control: &mut [u64; CONTROL / 8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if descriptors.len() > MOST_DESCRIPTORS {
        return Err(Errno::TOOMANYREFS);
    }
    let bytes = size_of_val(descriptors) as libc::c_uint;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: these only compute; `control` is aligned as a header is, and has room for so many (`CONTROL`).
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
        let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
        for (at, descriptor) in descriptors.iter().enumerate() {
            data.add(at).write_unaligned(descriptor.as_raw_fd());
        }
    }
    Ok(())
}

/// Receives into uninitialised room, of which the first `Came::length` - [`HEAD`] bytes are initialised then. Without a place for
/// them, descriptors are closed by the kernel.
fn take(
    socket: BorrowedFd<'_>,
    head: &mut [u8; HEAD],
    room: &mut [MaybeUninit<u8>],
    descriptors: Option<&mut Vec<OwnedFd>>,
    flags: libc::c_int,
) -> Result<Came, Errno> {
    let mut parts = [
        libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: HEAD },
        libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() },
    ];
    let mut control = MaybeUninit::<[u64; CONTROL / 8]>::uninit();
    // SAFETY: as in `send`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    if descriptors.is_some() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | flags;
    loop {
        // SAFETY: the parts, and the control data, are ours to write; the kernel initialises what it says.
        let came = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        if let Ok(length) = usize::try_from(came) {
            if let Some(descriptors) = descriptors
                && message.msg_controllen > 0
            {
                unpack(&message, descriptors);
            }
            let cut = message.msg_flags & libc::MSG_TRUNC != 0;
            return Ok(Came { length, cut, lost: message.msg_flags & libc::MSG_CTRUNC != 0 });
        }
        match last() {
            Errno::INTR => {}
            errno => return Err(errno),
        }
    }
}

/// Takes over the descriptors that came with a message.
#[cold]
fn unpack(message: &libc::msghdr, descriptors: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel wrote so much control data, of which these macros keep to the bounds; each descriptor in there is new, and ours.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
                let bytes = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for at in 0..bytes / size_of::<libc::c_int>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(at).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// Receives a packet: what follows its head becomes `rest`, at most `most` bytes. `AGAIN`: there is none.
#[inline]
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    head: &mut [u8; HEAD],
    rest: &mut Vec<u8>,
    most: usize,
    descriptors: Option<&mut Vec<OwnedFd>>,
) -> Result<Came, Errno> {
    rest.clear();
    rest.reserve_exact(most);
    let came = take(socket, head, &mut rest.spare_capacity_mut()[..most], descriptors, 0)?;
    // SAFETY: so many bytes the kernel wrote; it writes no more than there is room for.
    unsafe { rest.set_len(came.length.saturating_sub(HEAD).min(most)) };
    Ok(came)
}

/// The head of the packet that comes next, which stays, and how long that packet is.
pub(crate) fn peek(socket: BorrowedFd<'_>, head: &mut [u8; HEAD]) -> Result<usize, Errno> {
    take(socket, head, &mut [], None, libc::MSG_PEEK | libc::MSG_TRUNC).map(|came| came.length)
}

/// The packet that comes next, which stays, with descriptors of its own for what comes with it.
pub(crate) fn peek_whole(
    socket: BorrowedFd<'_>,
    head: &mut [u8; HEAD],
    rest: &mut Vec<u8>,
    most: usize,
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Came, Errno> {
    rest.clear();
    rest.reserve_exact(most);
    let room = &mut rest.spare_capacity_mut()[..most];
    let came = take(socket, head, room, Some(descriptors), libc::MSG_PEEK)?;
    // SAFETY: as in `receive`.
    unsafe { rest.set_len(came.length.saturating_sub(HEAD).min(most)) };
    Ok(came)
}

/// Receives the packet that was looked at; all of `rest`, which is as long as it, is initialised in any case.
pub(crate) fn receive_there(socket: BorrowedFd<'_>, rest: &mut [MaybeUninit<u8>]) {
    let mut head = [0; HEAD];
    let came = take(socket, &mut head, rest, None, 0).map_or(0, |came| came.length);
    if came != HEAD + rest.len() {
        rest.fill(MaybeUninit::new(0)); // it can't be: nobody else receives there
    }
}

/// No more comes by it, and none is taken from it. (Of one to connect to: nobody can from now on.)
pub(crate) fn shut(socket: BorrowedFd<'_>) {
    let _ = shutdown(socket, Shutdown::Both); // who is gone is gone
}

/// How much room for what is under way a packet with so many bytes behind its head takes. `MSGSIZE`, `NOBUFS`: the kernel carries
/// none that long.
pub(crate) fn footprint(length: usize) -> Result<u64, Errno> {
    if length > LONGEST {
        return Err(Errno::MSGSIZE); // before there is any memory for it
    }
    let (here, _there) = pair()?;
    widen(here.as_fd(), 4 * length as u64 + (1 << 16));
    let mut packet = Vec::new();
    packet.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
    packet.resize(length, 0);
    send(here.as_fd(), &[0; HEAD], &packet, &[])?;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int there.
    let done = unsafe { libc::ioctl(here.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { Ok(u64::try_from(bytes).unwrap_or(0)) } else { Err(last()) }
}

/// How many bytes came by it and were not received.
pub(crate) fn waiting(socket: BorrowedFd<'_>) -> u64 {
    rustix::io::ioctl_fionread(socket).unwrap_or(0)
}

/// A socket that is connected to nothing.
pub(crate) fn scratch() -> Result<OwnedFd, Errno> {
    fresh()
}
