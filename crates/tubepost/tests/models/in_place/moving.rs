//! Moving the data out of reach of one who was fenced and may still write to it.

use super::*;

impl InPlace {
    pub(super) fn move_out(&self, s: &mut State, w: usize) -> Option<&'static str> {
        let mut p = s.process[w];
        let same = s.current == p.seen;
        let label = match p.at {
            At::Announce => {
                // Each has a name of its own, planted or not.
                p.attempt = (s.place.1 + 1).max(s.process.iter().map(|p| p.attempt).max()? + 1);
                p.home = s.place.0;
                if !self.is(Planted::NotAnnounced) {
                    p.attempt = s.place.1 + 1;
                    s.place.1 = p.attempt;
                }
                p.at = At::LookAtEditing(0);
                "says that it is about to repair"
            }
            At::LookAnnounced => {
                p.at =
                    if same || self.is(Planted::MovesBlindly) { At::CopyVersions } else { At::StopEditing };
                "looks at current again"
            }
            At::CopyVersions => {
                s.homes[usize::from(p.attempt)].versions = s.homes[usize::from(p.home)].versions;
                p.at = At::CopyWord(0);
                "copies versions"
            }
            At::CopyWord(word) => {
                let at = usize::from(word);
                s.homes[usize::from(p.attempt)].data[at] = s.homes[usize::from(p.home)].data[at];
                p.at = match word {
                    0 => At::CopyWord(1),
                    _ if self.is(Planted::MarkedLate) => At::Name,
                    _ => At::Mark,
                };
                "copies a word"
            }
            At::Mark => {
                s.editing[w] = Some(p.attempt);
                p.at = if self.is(Planted::MarkedLate) { At::Edit(0) } else { At::Name };
                "says that it edits there"
            }
            At::Name => {
                if !self.is(Planted::NamedLate) {
                    s.homes[usize::from(p.attempt)].named = true;
                }
                p.at = At::Move;
                "names the file"
            }
            At::Move => {
                let announced = self.is(Planted::NotAnnounced) && s.place.0 == p.home;
                let moves = s.place == (p.home, p.attempt) || announced || self.is(Planted::NoCas);
                p.at = At::TakeNew;
                if moves {
                    let old = s.place.0;
                    s.place = (p.attempt, p.attempt.max(s.place.1));
                    p.home = p.attempt;
                    p.at = At::TakeOld(old);
                }
                "moves the data"
            }
            At::TakeOld(old) => {
                s.homes[usize::from(old)].named = false;
                s.homes[usize::from(p.home)].named = true; // if it was named late
                p.at = At::LookAgain;
                "takes the old home's name away"
            }
            At::TakeNew => {
                s.homes[usize::from(p.attempt)].named = false;
                p.at = At::LetGo;
                "takes its name away"
            }
            _ => return None,
        };
        s.process[w] = p;
        Some(label)
    }

    /// Takes files away that are nobody's home, while nobody is about to move.
    pub(super) fn sweep(&self, s: &State, out: &mut Steps<State>) {
        let about_to = |p: &Process| p.at == At::Move && !self.is(Planted::SweptMeanwhile);
        if s.process.iter().any(about_to) {
            return;
        }
        let mut t = *s;
        t.sweeps -= 1;
        for (number, home) in t.homes.iter_mut().enumerate() {
            home.named &= number == usize::from(s.place.0);
        }
        if t.homes != s.homes {
            out.add(|| "sweeps".into(), t);
        }
    }
}
