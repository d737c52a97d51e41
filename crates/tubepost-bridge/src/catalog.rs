//! What a bridge exports, as it tells others: all of it to who asks, in pieces; and what comes and goes to all, as news.
//!
//! Each change has a number. An importer hears the news of all bridges from the beginning, and asks for the catalog when a bridge is there:
//!
//! ```text
//! importer                                          exporter
//! Question  behind this id, of these patterns  ->
//!                                              <-   Piece   mailboxes by their ids, up to this one; as of the change `newest`
//! Question  behind that one                    ->
//!                                              <-   Piece   the last one
//!                                              <-   News    what came and what went of the changes up to `newest`, from behind `before` on
//! ```
//!
//! What changes between two pieces the importer learns from the news, which it applies from the first piece on: what came and is there, or went and is not, changes
//! nothing. News that begin behind what it knows say that some are missing: it asks for the catalog again. (`discovery` is the importer's side.)
//!
//! News are of the state at their end: what came and went again in between only went. So who comes and goes fast makes no long news. What can't be said for long, for the
//! network is slower than what happens, is not said at all: then the numbers have a gap.
//!
//! All that comes in is checked: a length, a version, an encoding; each mailbox by itself, so that one that can't be read costs no other.

use crate::address::{VERSION, is_name};
use crate::facts::Facts;
use crate::pattern::Pattern;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A piece and a bundle of news are not longer than that, unless one mailbox is.
const PIECE: usize = 48 << 10;
/// What is longer than that is none.
pub(crate) const LONGEST: usize = 256 << 10;
/// So many mailboxes are looked at for one piece.
const LOOKED_AT: usize = 4096;
/// So many changes wait to be said at most.
const UNSAID: usize = 16_384;
/// Patterns that are together longer than that are not asked with: who asks applies them.
const PATTERNS: usize = 1024;

/// An exported mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its id.
    pub(crate) mailbox: u128,
    /// What it is called at home.
    pub(crate) name: String,
    pub(crate) facts: Facts,
}

/// Which part of a catalog is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// What is behind this id.
    behind: Option<u128>,
    /// What one of these matches, by the names that mailboxes have elsewhere; if there are none, everything.
    patterns: Vec<String>,
}

/// A part of a catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece<'a> {
    /// The newest change that is in it.
    pub(crate) newest: u64,
    /// There may be more behind this id.
    pub(crate) more: Option<u128>,
    /// Encoded entries.
    #[serde(borrow)]
    pub(crate) entries: Vec<&'a [u8]>,
}

/// What changed: what went did so before what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News<'a> {
    /// Of the changes behind this one …
    pub(crate) before: u64,
    /// … up to this one.
    pub(crate) newest: u64,
    pub(crate) went: Vec<u128>,
    /// Encoded entries.
    #[serde(borrow)]
    pub(crate) came: Vec<&'a [u8]>,
}

fn encode(said: &impl Serialize) -> Vec<u8> {
    // Into a vector there is always room, and none of these is of unknown length.
    postcard::to_extend(said, vec![VERSION]).unwrap_or_default()
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION || bytes.len() > LONGEST {
        return None;
    }
    postcard::take_from_bytes(rest).ok().and_then(|(said, rest)| rest.is_empty().then_some(said))
}

impl Entry {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Entry> {
        let (entry, rest): (Entry, _) = postcard::take_from_bytes(bytes).ok()?;
        (rest.is_empty() && is_name(&entry.name) && entry.facts.are_sane()).then_some(entry)
    }
}

impl Question {
    pub(crate) fn new(behind: Option<u128>, patterns: &[Pattern]) -> Question {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let long = patterns.iter().map(|pattern| pattern.len() + 4).sum::<usize>() > PATTERNS;
        Question { behind, patterns: if long { Vec::new() } else { patterns } }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

impl<'a> Piece<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Piece<'a>> {
        decode(bytes)
    }
}

impl<'a> News<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<News<'a>> {
        decode(bytes)
    }
}

/// All that this bridge exports, and what is still to be said of it.
#[derive(Debug)]
pub(crate) struct Catalog {
    prefix: String,
    state: Mutex<State>,
    /// There is something to be said.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<u128, Arc<Listed>>,
    /// How many changes there were.
    newest: u64,
    /// News were said up to this change.
    said: u64,
    /// The others, by their numbers.
    unsaid: BTreeMap<u64, Change>,
}

#[derive(Debug)]
struct Listed {
    name: String,
    encoded: Vec<u8>,
    /// The change by which it came.
    came: u64,
}

#[derive(Debug)]
enum Change {
    Came(Arc<Listed>),
    Went(u128),
}

impl Catalog {
    /// That of a bridge which says this prefix before the names of its mailboxes.
    pub(crate) fn new(prefix: &str) -> Catalog {
        Catalog { prefix: prefix.into(), state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is exported from now on.
    pub(crate) fn came(&self, entry: &Entry) {
        let mut state = self.state();
        // (As with `encode`.)
        let encoded = postcard::to_allocvec(entry).unwrap_or_default();
        let came = state.newest + 1;
        let listed = Arc::new(Listed { name: entry.name.clone(), encoded, came });
        state.all.insert(entry.mailbox, Arc::clone(&listed));
        state.changed(Change::Came(listed));
        self.changed.notify_one();
    }

    /// It is exported no longer.
    pub(crate) fn went(&self, mailbox: u128) {
        let mut state = self.state();
        let Some(listed) = state.all.remove(&mailbox) else { return };
        state.unsaid.remove(&listed.came);
        state.changed(Change::Went(mailbox)); // all the same, for it may have been in a catalog
        self.changed.notify_one();
    }

    /// The answer to a question; nothing, if it is none.
    pub(crate) fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        if question.len() > 2 * PATTERNS {
            return None;
        }
        let Question { behind, patterns } = decode(question)?;
        let patterns = patterns.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>, _>>().ok()?;
        let (newest, some): (_, Vec<_>) = {
            let state = self.state();
            let from = behind.map_or(Unbounded, Excluded);
            let some = state.all.range((from, Unbounded)).take(LOOKED_AT);
            (state.newest, some.map(|(mailbox, listed)| (*mailbox, Arc::clone(listed))).collect())
        };
        let last = some.last().map(|(mailbox, _)| *mailbox);
        let mut piece = Piece { newest, more: last.filter(|_| some.len() == LOOKED_AT), entries: Vec::new() };
        let (mut bytes, mut before) = (0, behind);
        for (mailbox, Listed { name, encoded, .. }) in some.iter().map(|(id, listed)| (id, &**listed)) {
            let called = || format!("{}{name}", self.prefix);
            if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&called())) {
                bytes += encoded.len() + 4;
                if bytes > PIECE && !piece.entries.is_empty() {
                    piece.more = before;
                    break;
                }
                piece.entries.push(encoded);
            }
            before = Some(*mailbox);
        }
        Some(piece.encode())
    }

    /// What is to be said next, if anything is.
    pub(crate) fn news(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        if state.unsaid.is_empty() {
            return None;
        }
        let (mut bytes, mut said) = (0, Vec::new());
        while let Some(next) = state.unsaid.first_entry() {
            bytes += match next.get() {
                Change::Came(listed) => listed.encoded.len() + 4,
                Change::Went(_) => 20,
            };
            if bytes > PIECE && !said.is_empty() {
                break;
            }
            said.push(next.remove_entry());
        }
        let newest = match said.last() {
            Some((number, _)) if !state.unsaid.is_empty() => *number,
            _ => state.newest,
        };
        let before = std::mem::replace(&mut state.said, newest);
        let mut news = News { before, newest, went: Vec::new(), came: Vec::new() };
        for (_, change) in &said {
            match change {
                Change::Came(listed) => news.came.push(&listed.encoded),
                Change::Went(mailbox) => news.went.push(*mailbox),
            }
        }
        Some(news.encode())
    }

    /// That nothing is new since: who missed the last news finds that out.
    pub(crate) fn no_news(&self) -> Vec<u8> {
        let newest = self.state().said;
        News { before: newest, newest, went: Vec::new(), came: Vec::new() }.encode()
    }
}

impl State {
    fn changed(&mut self, change: Change) {
        if self.unsaid.len() >= UNSAID {
            self.unsaid.clear();
            self.said = self.newest; // nobody was told: they see that they missed it
        }
        self.newest += 1;
        self.unsaid.insert(self.newest, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn facts() -> Facts {
        let path = format!("/dev/shm/tubepost-bridge-catalog-{}-{:x}", std::process::id(), rand());
        let domain = tubepost::Domain::open(&path).unwrap();
        let _inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("a").unwrap();
        let facts = Facts::of(&domain.stat("a").unwrap()).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        facts
    }

    fn rand() -> u64 {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn entry(mailbox: u128, facts: &Facts) -> Entry {
        Entry { mailbox, name: format!("plant/{mailbox}"), facts: facts.clone() }
    }

    /// All pieces of a catalog: the ids, the first one's number, and how many there were.
    fn ask(catalog: &Catalog, patterns: &[Pattern]) -> (BTreeSet<u128>, u64, usize) {
        let (mut all, mut behind, mut first, mut pieces) = (BTreeSet::new(), None, None, 0);
        loop {
            let answer = catalog.answer(&Question::new(behind, patterns).encode()).unwrap();
            assert!(answer.len() <= PIECE + 100, "{}", answer.len());
            let piece = Piece::decode(&answer).unwrap();
            pieces += 1;
            first.get_or_insert(piece.newest);
            all.extend(piece.entries.iter().map(|bytes| Entry::decode(bytes).unwrap().mailbox));
            match piece.more {
                Some(more) => behind = Some(more),
                None => return (all, first.unwrap(), pieces),
            }
        }
    }

    fn apply(state: &mut BTreeSet<u128>, news: &News<'_>) {
        state.retain(|mailbox| !news.went.contains(mailbox));
        state.extend(news.came.iter().map(|bytes| Entry::decode(bytes).unwrap().mailbox));
    }

    #[test]
    fn a_catalog_in_pieces_and_the_news_since_give_what_there_is() {
        let (catalog, facts) = (Catalog::new("berlin/"), facts());
        (0..6000).for_each(|id| catalog.came(&entry(id, &facts)));
        let (mut all, first, pieces) = ask(&catalog, &[]);
        assert_eq!((all.len(), first), (6000, 6000));
        assert!(pieces > 3, "{pieces}");
        let some = [Pattern::new("berlin/plant/59?9").unwrap(), Pattern::new("plant/1").unwrap()];
        let (some, _, pieces) = ask(&catalog, &some);
        assert_eq!((some.len(), pieces), (10, 2));
        let many = vec![Pattern::new(&"a".repeat(200)).unwrap(); 9];
        assert_eq!(ask(&catalog, &many).0.len(), 6000, "these are too long: who asks looks itself");

        // What changes while nothing is said, in any order, and what is there in the end.
        (0..3000).for_each(|id| catalog.went(2 * id));
        (0..50).for_each(|_| {
            catalog.came(&entry(7000, &facts));
            catalog.went(7000);
        });
        catalog.came(&entry(8000, &facts));
        catalog.went(9000); // which there never was
        let (there, ..) = ask(&catalog, &[]);
        assert_eq!(there.len(), 3001);
        let mut known = 0; // as one who heard everything
        let (mut bundles, mut heard) = (0, BTreeSet::new());
        while let Some(news) = catalog.news() {
            let news = News::decode(&news).unwrap();
            assert_eq!(news.before, known, "no gap");
            known = news.newest;
            bundles += 1;
            apply(&mut heard, &news);
            apply(&mut all, &news); // as one who had the catalog, and hears the earlier ones too
        }
        assert_eq!((&heard, &all), (&there, &there));
        assert_eq!(known, 6000 + 3000 + 100 + 1);
        assert!((2..30).contains(&bundles), "{bundles}");
        assert_eq!(
            News::decode(&catalog.no_news()).map(|news| (news.before, news.newest)),
            Some((known, known))
        );
    }

    #[test]
    fn what_was_not_said_for_long_is_a_gap() {
        let (catalog, facts) = (Catalog::new(""), facts());
        (0..UNSAID as u128 + 1).for_each(|id| catalog.came(&entry(id, &facts)));
        let news = catalog.news().unwrap();
        let news = News::decode(&news).unwrap();
        assert_eq!((news.before, news.newest, news.came.len()), (UNSAID as u64, UNSAID as u64 + 1, 1));
    }

    #[test]
    fn what_is_cut_off_or_no_message_is_told() {
        let facts = facts();
        let entries = [entry(1 << 100, &facts), entry(2, &facts)].map(|e| postcard::to_allocvec(&e).unwrap());
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let piece = Piece { newest: 300, more: Some(1 << 90), entries: entries.clone() };
        let news = News { before: 7, newest: 300, went: vec![1, 1 << 127], came: entries.clone() };
        let question = Question::new(Some(5), &[Pattern::new("a*").unwrap()]);
        let catalog = Catalog::new("");
        assert_eq!(Piece::decode(&piece.encode()), Some(piece.clone()));
        assert_eq!(News::decode(&news.encode()), Some(news.clone()));
        assert!(catalog.answer(&question.encode()).is_some());
        type Is = fn(&[u8]) -> bool;
        let cases: [(Vec<u8>, Is); 3] = [
            (piece.encode(), |bytes| Piece::decode(bytes).is_some()),
            (news.encode(), |bytes| News::decode(bytes).is_some()),
            (question.encode(), |bytes| Catalog::new("").answer(bytes).is_some()),
        ];
        for (whole, is) in &cases {
            (0..whole.len()).for_each(|end| assert!(!is(&whole[..end]), "{end} of {}", whole.len()));
            assert!(!is(&[&whole[..], &[0]].concat()) && !is(&[&[9], &whole[1..]].concat()));
            assert!(!is(&[&whole[..], &vec![0; LONGEST]].concat()));
        }
        (0..entries[0].len()).for_each(|end| assert_eq!(Entry::decode(&entries[0][..end]), None));
        // A count of what is not there takes no memory.
        assert_eq!(Piece::decode(&[1, 0, 0, 255, 255, 255, 255, 15]), None);
        assert_eq!(News::decode(&[1, 0, 0, 255, 255, 255, 255, 15]), None);
        // No names, and none that can be asked for.
        for name in ["", "a b", "a,b", "\u{1b}[2J", &"a".repeat(256)] {
            let encoded = postcard::to_allocvec(&Entry { name: name.into(), ..entry(1, &facts) }).unwrap();
            assert_eq!(Entry::decode(&encoded), None, "{name:?}");
            let asked = Question { behind: None, patterns: vec![name.into()] };
            assert!(name.len() > 255 || catalog.answer(&asked.encode()).is_none(), "{name:?}");
        }
    }
}
