//! Those who join, and have links with each other, while what they and their links have is being wrecked.

use std::time::{Duration, Instant};

use tubepost::{Domain, Inbox, Link, Process, Strategy};

use super::{SESSION, Victim};
use crate::hostile::boxes::{Goods, LINKS, STRAYS};

/// So many names there are.
const NAMES: u64 = 4;

impl Victim {
    /// Joins, and uses links for a while.
    pub(super) fn link_some(&mut self) {
        let (domain, end) = (self.domain.clone(), Instant::now() + 4 * SESSION);
        let own = self.dice.below(NAMES);
        let options = Process::options().domain(&domain);
        let joined = self.call("join", &LINKS, Duration::ZERO, |_| options.join(&format!("{STRAYS}{own}")));
        if joined.is_none() || self.dice.below(10) == 0 {
            remove_by_hand(&domain);
        }
        let Some(me) = joined else { return std::thread::sleep(Duration::from_millis(2)) };
        let inbox = self.call("inbox", &LINKS, Duration::ZERO, |_| me.inbox::<[u8]>());
        let mut links: Vec<Link<[u8]>> = Vec::new();
        while Instant::now() < end {
            self.use_links(&me, own, inbox.as_ref(), &mut links);
        }
        if self.dice.below(2) == 0 {
            self.ask("leave", &LINKS, || me.leave());
        }
        self.ask("drop-process", &LINKS, || drop((links, inbox, me)));
    }

    fn use_links(
        &mut self,
        me: &Process,
        own: u64,
        inbox: Option<&Inbox<[u8]>>,
        links: &mut Vec<Link<[u8]>>,
    ) {
        let (patience, goods) = (self.briefly(), <[u8]>::pick(&mut self.dice, &LINKS));
        let peer = format!("{STRAYS}{}", (own + 1 + self.dice.below(NAMES - 1)) % NAMES);
        let at = self.dice.below(links.len().max(1) as u64) as usize;
        match (self.dice.below(13), links.get(at), inbox) {
            (0..=1, ..) | (_, None, _) => {
                let options = Link::options().max_message(LINKS.longest);
                let options = match self.dice.below(6) {
                    0 => Link::options(),
                    1 => options.unbounded(),
                    2 => options.bounded(0),
                    3 => options.strategy(Strategy::Kernel).bounded(3),
                    4 => options.strategy(Strategy::Kernel).bounded(0),
                    _ => options.bounded(3),
                };
                if self.dice.below(3) == 0 {
                    let made = self.call("pair", &LINKS, Duration::ZERO, |_| options.pair());
                    if let Some((link, other)) = made {
                        links.push(link);
                        links.extend(self.call("pair-take", &LINKS, Duration::ZERO, |_| other.here()));
                    }
                } else {
                    links.extend(self.call("link", &LINKS, Duration::ZERO, |_| options.open(me, &peer)));
                }
                while links.len() > 6 {
                    links.remove(0);
                }
            }
            (2..=4, Some(link), _) => {
                self.call("link.send", &LINKS, patience, |_| Ok(link.send_timeout(&goods, patience)?));
            }
            (5, Some(link), _) => {
                self.call("link.send_collected", &LINKS, patience, |_| {
                    Ok(link.sender().send_collected_timeout(&goods, patience)?)
                });
            }
            (6 | 7, Some(link), _) => {
                let came = self.call("link.recv", &LINKS, patience, |_| Ok(link.recv_timeout(patience)?));
                came.inspect(|it| Self::check(&LINKS, <[u8]>::look(it, u64::MAX)));
            }
            (12, Some(link), _) if self.dice.below(8) == 0 => {
                self.call("link.stop_sending", &LINKS, Duration::ZERO, |_| link.stop_sending());
            }
            (8 | 9, _, Some(inbox)) => {
                let came = self.call("inbox.recv", &LINKS, patience, |_| Ok(inbox.recv_timeout(patience)?));
                came.inspect(|it| Self::check(&LINKS, <[u8]>::look(&it.message, u64::MAX)));
            }
            (10, _, Some(inbox)) => {
                let taken = self.call("inbox.take", &LINKS, patience, |_| Ok(inbox.take_timeout(patience)?));
                if let Some(taken) = taken {
                    self.call("inbox.accept", &LINKS, Duration::ZERO, |_| taken.accept());
                }
            }
            _ => {
                self.call("monitor", &LINKS, patience, |_| me.monitor(&peer)?.wait_timeout(patience));
            }
        }
    }
}

/// What can't be understood any more has to be removed by hand, as its error says.
fn remove_by_hand(domain: &Domain) {
    for file in std::fs::read_dir(domain.path()).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().starts_with(STRAYS) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}
