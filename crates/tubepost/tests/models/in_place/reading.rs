//! A reader's steps.

use super::*;

impl InPlace {
    pub(super) fn read(&self, s: &mut State, r: usize) -> Option<&'static str> {
        let mut p = s.process[WRITERS + r];
        let label = match p.at {
            At::Look if p.other => {
                p.seen = s.current;
                let open = !p.seen.touched && !p.seen.held || self.is(Planted::MindsNobody);
                p.at = if open { At::FindHome } else { At::Look };
                p.other = open;
                "looks at current"
            }
            At::Look => {
                p.seen = s.current;
                if p.seen.held {
                    if !Self::fence(s, p.seen.seat.into()) {
                        return None;
                    }
                    p.at = At::FenceHolder;
                } else if p.seen.touched {
                    p.rounds -= 1; // poisoned
                    p.at = if p.rounds == 0 { At::Done } else { At::Look };
                } else {
                    p.at = At::Enter;
                    p.home = if self.is(Planted::PlaceFirst) { s.place.0 } else { 0 };
                }
                "looks at current"
            }
            At::FenceHolder => {
                if s.current == p.seen {
                    s.current.held = false;
                }
                p.at = At::Look;
                "fences the holder"
            }
            At::Enter => {
                s.rows[r] = Row::Reading;
                p.at = if self.is(Planted::NoLook) { At::FindHome } else { At::LookBehind };
                "says that it reads"
            }
            At::LookBehind => {
                let before = p.seen;
                p.seen = s.current;
                let same = p.looked && p.seen == before;
                p.at = if (p.seen.held || p.seen.touched) && !same { At::Idle } else { At::FindHome };
                p.looked = false;
                "looks at current again"
            }
            At::FindHome => {
                if !self.is(Planted::PlaceFirst) || p.other {
                    p.home = s.place.0;
                }
                p.version = s.homes[self.versions_of(p.home)].versions[usize::from(p.seen.side)];
                p.at = At::Read(0);
                "looks where the data is"
            }
            At::Read(word) => {
                p.copy[usize::from(word)] = s.homes[usize::from(p.home)].data[usize::from(word)];
                p.at = match (word, p.other) {
                    (0, _) => At::Read(1),
                    (_, true) => At::LookOnceMore,
                    (_, false) => At::Leave,
                };
                "reads a word"
            }
            At::Leave | At::LookOnceMore => {
                let good = match p.at {
                    At::Leave => s.rows[r] == Row::Reading || self.is(Planted::NotValidated),
                    _ => s.current == p.seen,
                };
                if good {
                    if p.copy != [s.truth[usize::from(p.version)]; 2] {
                        s.wrong = Some("torn, or never committed");
                    }
                    if p.version < p.last {
                        s.wrong = Some("back in time");
                    }
                    p.last = p.version;
                    p.rounds -= 1;
                    if p.at == At::Leave {
                        s.rows[r] = Row::Idle;
                    }
                }
                let (quick, again) = (self.quick && good, !good && !p.other);
                p = Process { rounds: p.rounds, last: p.last, other: quick, ..NEW };
                p.at = match p.rounds {
                    _ if again => At::Idle,
                    0 => At::Done,
                    _ => At::Look,
                };
                "asks whether its copy is good"
            }
            At::Idle => {
                s.rows[r] = Row::Idle;
                p.at = At::Look;
                "does not read any more"
            }
            _ => return None,
        };
        s.process[WRITERS + r] = p;
        Some(label)
    }
}
