//! Test: whoever closes a mailbox in files counts the same, whatever others do meanwhile.

use crate::strategy::Outlet;
use crate::{Domain, File, Mailbox, Receiver, Sender, TryRecvError};

/// More than the first file holds, and less than the first two.
const SENT: u64 = 27_000;
const RECEIVED: u64 = 10;

#[test]
fn what_was_counted_once_is_not_taken_away_before_others_have_counted() {
    let path = format!("/dev/shm/tubepost-counted-{}", std::process::id());
    let domain = Domain::open(&path).expect("a fresh one");
    let files = File { dir: Some(format!("{path}-files").into()), ..File::default() };
    Mailbox::<u64>::options().domain(&domain).strategy(files).create("box").expect("it can be made");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    let inbox = Receiver::<u64>::options().domain(&domain).open("box").expect("it exists");
    (0..SENT).for_each(|number| out.send(number).expect("room"));
    assert_eq!(domain.stat("box").expect("it exists").log.expect("in files").files, 2);
    (0..RECEIVED).for_each(|number| assert_eq!(inbox.recv(), Ok(number)));

    // The first one closes it, and has not said so.
    let Outlet::File(outlet) = out.outlet() else { panic!("it is in files") };
    let log = outlet.at.segment.log().expect("it is in use");
    assert_eq!(log.close(|_| false).expect("it can be read"), SENT - RECEIVED);
    // The second one comes past all of the first file, and then to the end.
    match inbox.try_recv() {
        Err(TryRecvError::Closed(closed)) => assert_eq!(closed.uncollected, SENT - RECEIVED),
        other => panic!("{other:?}"),
    }
    assert_eq!(domain.remove("box").expect("it is there").uncollected, SENT - RECEIVED);
    std::fs::remove_dir(&path).expect("it is empty");
}
