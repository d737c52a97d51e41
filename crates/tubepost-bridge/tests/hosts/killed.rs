//! Bridges are killed under load, on either side: the books are balanced in the end.

use crate::stage::{Host, PATIENCE, two_hosts};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tubepost::{Mailbox, Message, Sender};

#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Stamp {
    sender: u32,
    padding: u32,
    count: u64,
}

const SENDERS: u32 = 3;

/// How long it goes on.
pub const A_WHILE: Duration = Duration::from_secs(6);

/// Sends from `here` to a mailbox `there` while something happens to both; each message arrives exactly once, in its sender's order.
pub fn balance(
    there: &mut Host,
    here: &mut Host,
    long: Duration,
    mut happens: impl FnMut(u64, &mut Host, &mut Host),
) {
    let inbox = Mailbox::<Stamp>::options().domain(&there.domain).bounded(200).own("box").expect("made");
    here.until_there("box");
    let stop = AtomicBool::new(false);
    let (stop, domain) = (&stop, here.domain.clone());
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let out = Sender::<Stamp>::options().domain(&domain).open("box").expect("it is there");
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(Relaxed) {
                        out.send(Stamp { sender, padding: 0, count }).expect("it is never closed");
                        count += 1;
                        if count % 64 == 0 {
                            std::thread::sleep(Duration::from_millis(1)); // some pauses, for idle streams too
                        }
                    }
                    count
                })
            })
            .collect();
        let local = Sender::<Stamp>::options().domain(&there.domain).open("box").expect("it is there");
        let receiving = scope.spawn(move || {
            let mut next = [0u64; SENDERS as usize + 1];
            let mut left: Option<[u64; SENDERS as usize]> = None;
            loop {
                match inbox.recv_timeout(Duration::from_millis(100)) {
                    Ok(stamp) if stamp.sender == SENDERS => {
                        assert_eq!(stamp.count, next[SENDERS as usize], "of the one beside");
                        next[SENDERS as usize] += 1;
                        if stamp.padding == 1 {
                            left = Some([0; SENDERS as usize]);
                        }
                    }
                    Ok(stamp) => {
                        let due = &mut next[stamp.sender as usize];
                        assert_eq!(stamp.count, *due, "of sender {}", stamp.sender);
                        *due += 1;
                    }
                    Err(_) if left.is_some() => return (inbox, next),
                    Err(_) => {}
                }
            }
        });
        let end = Instant::now() + long;
        let mut round = 0;
        while Instant::now() < end {
            happens(round, there, here);
            local.send(Stamp { sender: SENDERS, padding: 0, count: round }).expect("it is never closed");
            round += 1;
        }
        stop.store(true, Relaxed);
        let sent: Vec<u64> = senders.into_iter().map(|sender| sender.join().expect("no panic")).collect();
        // What is in the stand-in has to come, then nothing is left.
        let patience = Instant::now() + PATIENCE;
        while here.domain.stat("box").is_ok_and(|stat| stat.depth + stat.held > 0) {
            assert!(
                Instant::now() < patience,
                "it is not empty: {:?}\n{}",
                here.domain.stat("box"),
                here.log()
            );
            std::thread::sleep(Duration::from_millis(10)); // between two looks at a condition
        }
        local.send(Stamp { sender: SENDERS, padding: 1, count: round }).expect("it is never closed");
        let (inbox, received) = receiving.join().expect("each once and in order");
        assert_eq!(received[..SENDERS as usize], sent[..], "sent and received");
        println!("{sent:?} messages in {round} rounds");
        drop(inbox);
    });
}

#[test]
fn nothing_is_lost_or_doubled_when_bridges_are_killed() {
    let (mut there, mut here) = two_hosts();
    balance(&mut there, &mut here, A_WHILE, |round, there, here| {
        // At no particular moment: whatever goes on.
        std::thread::sleep(Duration::from_millis(150 + round * 7919 % 300));
        let victims: &mut [&mut Host] = match round % 3 {
            0 => &mut [here],
            1 => &mut [there],
            _ => &mut [there, here],
        };
        victims.iter_mut().for_each(|host| host.kill());
        std::thread::sleep(Duration::from_millis(round * 31 % 100)); // so long it is away
        victims.iter_mut().for_each(|host| host.start());
    });
}
