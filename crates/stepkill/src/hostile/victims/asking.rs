//! Those who ask and answer.

use std::time::{Duration, Instant};

use tubepost::{Delivery, Receiver, Sender};

use super::super::boxes::{Goods, Kind};
use super::{CLOSED, Victim};
use crate::mail::Questions;

impl Victim {
    pub fn questions(&mut self, part: &str, kind: &Kind) {
        let domain = self.domain.clone();
        match part {
            "send" => self.ask_some(kind),
            "receive" => {
                let options = Receiver::<Questions>::options().domain(&domain).member("answerer");
                let open = || options.open(kind.name);
                if let Some(inbox) = self.call("open-answerer", kind, Duration::ZERO, |_| open()) {
                    self.answer_some(kind, &inbox);
                    self.ask("drop-answerer", kind, || drop(inbox));
                }
            }
            _ if !kind.owned => {}
            _ => {
                let options = kind.options::<Questions>(&domain);
                let own = || options.own(kind.name);
                let Some(inbox) = self.call("own-questions", kind, Duration::ZERO, |_| own()) else {
                    if self.dice.below(3) == 0 {
                        self.remove_by_hand(kind);
                    }
                    return;
                };
                self.answer_some(kind, &inbox);
                self.answer_some(kind, &inbox);
                if self.dice.below(2) == 0 {
                    self.call("close-questions", kind, Duration::ZERO, |_| inbox.close());
                }
                self.ask("drop-owner", kind, || drop(inbox));
            }
        }
    }

    fn ask_some(&mut self, kind: &Kind) {
        let end = self.session_ends();
        let domain = self.domain.clone();
        let open = || Sender::<Questions>::options().domain(&domain).member("asker").open(kind.name);
        let Some(out) = self.call("open-asker", kind, Duration::ZERO, |_| open()) else { return };
        while Instant::now() < end && self.closed < CLOSED {
            let question = <[u8]>::pick(&mut self.dice, kind);
            let patience = self.briefly();
            let answer =
                self.call("call", kind, patience, |_| Ok(out.call_timeout(&question[..], patience)?));
            if let Some(answer) = answer {
                // What is the longest one its file said when it was opened.
                Self::check(kind, <[u8]>::look(&answer, u64::MAX));
            }
        }
        self.ask("drop-asker", kind, || drop(out));
    }

    fn answer_some(&mut self, kind: &Kind, inbox: &Receiver<Questions>) {
        let end = self.session_ends();
        let mut hands: Vec<Delivery<Questions>> = Vec::new();
        let most = self.call("receiver.stat", kind, Duration::ZERO, |_| inbox.stat());
        let most = most.map_or(u64::MAX, |stat| stat.max_message);
        while Instant::now() < end && self.closed < CLOSED {
            let patience = self.briefly();
            match self.dice.below(12) {
                0 => {
                    let came =
                        self.call("recv-question", kind, patience, |_| Ok(inbox.recv_timeout(patience)?));
                    if let Some(question) = came {
                        Self::check(kind, <[u8]>::look(&question, most));
                    }
                }
                1..=5 => {
                    let taken =
                        self.call("take-question", kind, patience, |_| Ok(inbox.take_timeout(patience)?));
                    if let Some(question) = taken {
                        Self::check(kind, <[u8]>::look(&question, most));
                        hands.push(question);
                    }
                }
                6..=9 => {
                    if let Some(question) = hands.pop() {
                        let answer = <[u8]>::pick(&mut self.dice, kind);
                        self.call("reply", kind, Duration::ZERO, |_| question.reply(&answer[..]));
                    }
                }
                10 => {
                    if let Some(question) = hands.pop() {
                        self.call("accept-question", kind, Duration::ZERO, |_| question.accept());
                    }
                }
                _ => {
                    if let Some(question) = hands.last() {
                        self.ask("is_awaited", kind, || question.is_awaited());
                    }
                }
            }
            if hands.len() > 4 {
                hands.truncate(2);
            }
        }
    }
}
