//! A breadth-first, explicit-state explorer.
//!
//! It keeps every state that any schedule can reach, and checks three things:
//!
//! 1. *safety*: [`Model::check`] accepts every state;
//! 2. *progress*: from every state, the processes still alive can reach a state that
//!    [`Model::done`] accepts, without anybody else being killed. A lost message, a lost wake-up or
//!    a queue blocked by a dead process all show up here as a state that nobody can get out of;
//! 3. *size*: a model that outgrows [`LIMIT`] states fails instead of eating the machine.
//!
//! Breadth first, so the schedule printed for a violation is a shortest one.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

/// More states than this is a mistake in the model.
const LIMIT: usize = 4_000_000;
/// The same for long runs.
const LONG_LIMIT: usize = 10_000_000;

/// Whether larger bounds are wanted than fit into every run of the tests: `.ci/full models`.
pub fn long_runs() -> bool {
    std::env::var_os("TUBEPOST_TESTS_LONG").is_some()
}

/// A protocol: states, and what each process may do next in each of them.
pub trait Model {
    /// Everything: shared words, each process's place and local variables, what is recorded for the
    /// checks.
    type State: Clone + Eq + Hash + Debug;

    fn initial(&self) -> Self::State;
    fn processes(&self) -> usize;
    /// What process `p` is called in a printed schedule.
    fn name(&self, p: usize) -> String;
    /// Adds every step that `p` may take next. None: it waits, is done, or is dead.
    fn steps(&self, state: &Self::State, p: usize, out: &mut Steps<Self::State>);
    /// The state after `p` was killed (or stopped for good); `None` where the model kills nobody (any more).
    fn kill(&self, _state: &Self::State, _p: usize) -> Option<Self::State> {
        None
    }
    /// `Err` says what is wrong with this state.
    fn check(&self, state: &Self::State) -> Result<(), String>;
    /// Whether all who live have what they came for.
    fn done(&self, state: &Self::State) -> bool;
}

/// Collects the steps of one process.
pub struct Steps<S> {
    labelled: bool,
    next: Vec<(String, S)>,
}

impl<S> Steps<S> {
    /// Adds a step to `state`. The label is only made when a schedule is printed.
    pub fn add(&mut self, label: impl FnOnce() -> String, state: S) {
        let label = if self.labelled { label() } else { String::new() };
        self.next.push((label, state));
    }
}

/// What [`explore`] found.
pub struct Report {
    pub states: usize,
    pub violation: Option<Violation>,
}

/// What went wrong, and the schedule that leads there.
pub struct Violation {
    pub what: String,
    pub schedule: Vec<String>,
}

impl Violation {
    fn print(&self, title: &str) -> String {
        let mut text = format!("{title}: {}\n", self.what);
        for (i, step) in self.schedule.iter().enumerate() {
            text += &format!("  {:>3}. {step}\n", i + 1);
        }
        text
    }
}

/// Asserts that the model holds; returns the number of its states.
#[track_caller]
pub fn holds<M: Model>(title: &str, model: &M) -> usize {
    let report = explore(model);
    if let Some(violation) = report.violation {
        panic!("{}", violation.print(title));
    }
    println!("{title}: holds, {} states", report.states);
    report.states
}

/// Asserts that the explorer finds a violation whose description contains `expected`.
#[track_caller]
pub fn breaks<M: Model>(title: &str, model: &M, expected: &str) {
    let report = explore(model);
    let Some(violation) = report.violation else {
        panic!("{title}: holds in all {} states, but should break: {expected}", report.states);
    };
    println!("{}", violation.print(title));
    assert!(violation.what.contains(expected), "{title}: broke otherwise than expected: {}", violation.what);
}

/// Visits every reachable state, up to the first violation.
pub fn explore<M: Model>(model: &M) -> Report {
    let mut graph = Graph::new(model);
    let violation = graph.visit().or_else(|| graph.find_stuck());
    Report { states: graph.states.len(), violation }
}

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    process: u16,
    killed: bool,
}

struct Graph<'m, M: Model> {
    model: &'m M,
    /// In the order they were found; all before `expanded.len() - 1` have been expanded.
    states: Vec<Rc<M::State>>,
    origins: Vec<Origin>,
    index: HashMap<Rc<M::State>, u32, BuildHasherDefault<WordHasher>>,
    /// Steps (not kills) from state `i`: `successors[expanded[i]..expanded[i + 1]]`.
    successors: Vec<u32>,
    expanded: Vec<usize>,
}

impl<'m, M: Model> Graph<'m, M> {
    fn new(model: &'m M) -> Self {
        let mut graph = Graph {
            model,
            states: Vec::new(),
            origins: Vec::new(),
            index: HashMap::default(),
            successors: Vec::new(),
            expanded: vec![0],
        };
        graph.intern(model.initial(), Origin { parent: 0, process: 0, killed: false });
        graph
    }

    /// The number of `state`; new ones are appended.
    fn intern(&mut self, state: M::State, origin: Origin) -> u32 {
        if let Some(&known) = self.index.get(&state) {
            return known;
        }
        let number = u32::try_from(self.states.len()).expect("bounded by LIMIT");
        let state = Rc::new(state);
        self.states.push(Rc::clone(&state));
        self.origins.push(origin);
        self.index.insert(state, number);
        number
    }

    fn visit(&mut self) -> Option<Violation> {
        let mut out = Steps { labelled: false, next: Vec::new() };
        let limit = if long_runs() { LONG_LIMIT } else { LIMIT };
        let mut next = 0;
        while next < self.states.len() {
            assert!(self.states.len() <= limit, "more than {limit} states");
            let state = Rc::clone(&self.states[next]);
            if let Err(what) = self.model.check(&state) {
                return Some(Violation { what, schedule: self.schedule_to(next) });
            }
            let parent = u32::try_from(next).expect("bounded by LIMIT");
            for p in 0..self.model.processes() {
                let process = u16::try_from(p).expect("a handful of processes");
                self.model.steps(&state, p, &mut out);
                for (_, after) in out.next.drain(..) {
                    let number = self.intern(after, Origin { parent, process, killed: false });
                    self.successors.push(number);
                }
                if let Some(after) = self.model.kill(&state, p) {
                    self.intern(after, Origin { parent, process, killed: true });
                }
            }
            self.expanded.push(self.successors.len());
            next += 1;
        }
        None
    }

    /// The first state from which no state that is done can be reached.
    fn find_stuck(&self) -> Option<Violation> {
        let mut can_finish: Vec<bool> = self.states.iter().map(|s| self.model.done(s)).collect();
        loop {
            let mut changed = false;
            for i in (0..self.states.len()).rev() {
                let steps = &self.successors[self.expanded[i]..self.expanded[i + 1]];
                if !can_finish[i] && steps.iter().any(|&to| can_finish[to as usize]) {
                    can_finish[i] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let stuck = can_finish.iter().position(|&ok| !ok)?;
        let what = format!("stuck: nobody can finish any more from {:?}", self.states[stuck]);
        Some(Violation { what, schedule: self.schedule_to(stuck) })
    }

    /// A shortest schedule to state `target`, one line a step.
    fn schedule_to(&self, target: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut at = target;
        while at != 0 {
            let origin = self.origins[at];
            let before = origin.parent as usize;
            let process = usize::from(origin.process);
            let label = if origin.killed {
                "is KILLED (or stopped for good, where the model says so)".to_owned()
            } else {
                self.label(before, process, at)
            };
            lines.push(format!("{}: {label}", self.model.name(process)));
            at = before;
        }
        lines.reverse();
        lines
    }

    fn label(&self, from: usize, process: usize, to: usize) -> String {
        let mut out = Steps { labelled: true, next: Vec::new() };
        self.model.steps(&self.states[from], process, &mut out);
        let step = out.next.into_iter().find(|(_, after)| *after == *self.states[to]);
        step.expect("this step was taken before").0
    }
}

/// A quick hash for small states; the standard one is most of the running time here.
#[derive(Default)]
struct WordHasher(u64);

impl WordHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }
    fn write_isize(&mut self, n: isize) {
        self.mix(n as u64);
    }
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// Two processes that add one to a counter in two steps each: the explorer must find the lost
/// update.
mod tests {
    use super::*;

    struct Counter {
        atomic: bool,
    }

    /// (the counter, per process: `None` before it read, then what it read, `Some(9)` when done)
    type State = (u8, [Option<u8>; 2]);

    impl Model for Counter {
        type State = State;
        fn initial(&self) -> State {
            (0, [None; 2])
        }
        fn processes(&self) -> usize {
            2
        }
        fn name(&self, p: usize) -> String {
            format!("P{p}")
        }
        fn steps(&self, &(counter, locals): &State, p: usize, out: &mut Steps<State>) {
            let with = |local| {
                let mut locals = locals;
                locals[p] = Some(local);
                locals
            };
            match locals[p] {
                None if self.atomic => out.add(|| "adds one".into(), (counter + 1, with(9))),
                None => out.add(|| format!("reads {counter}"), (counter, with(counter))),
                Some(9) => {}
                Some(n) => out.add(|| format!("writes {}", n + 1), (n + 1, with(9))),
            }
        }
        fn check(&self, &(counter, locals): &State) -> Result<(), String> {
            if locals == [Some(9); 2] && counter != 2 { Err(format!("counted to {counter}")) } else { Ok(()) }
        }
        fn done(&self, state: &State) -> bool {
            state.1 == [Some(9); 2]
        }
    }

    #[test]
    fn finds_the_shortest_lost_update() {
        assert_eq!(holds("counter", &Counter { atomic: true }), 4);
        let violation = explore(&Counter { atomic: false }).violation.expect("an update is lost");
        assert_eq!(violation.what, "counted to 1");
        assert_eq!(violation.schedule.len(), 4);
    }
}
