//! The campaign of two at one time: each pair of operations by each schedule, and at each of its points one is killed, or
//! stands still while the other one goes to its end.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::campaign::{Totals, is_in, violated};
use crate::judge::WAYS;
use crate::ledger::Outcome;
use crate::lockstep::{Player, Recording, Schedule, Stand};
use crate::mistaken;
use crate::operations::{self, Together};
use crate::scene::{LONG_WATCH, Scene, WATCH, Watchdog};
use crate::subject::Subject;
use crate::symbols;
use crate::trace;

/// How often one that went astray is tried again.
const TRIES: u32 = 3;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Of each schedule by turns, at so many points at most.
    points: usize,
    /// One stands still at so many points, in a sample those before it writes or calls the system …
    stands: usize,
    /// … at so many of those it is killed when the other one is done …
    late: usize,
    /// … and at so many of those the other one is killed at so many.
    grid: usize,
    /// Either of the two at each point, not only the one whose move it is.
    both: bool,
}

pub const SAMPLE: Amount = Amount { points: 2, stands: 6, late: 1, grid: 1, both: false };
pub const COMPLETE: Amount =
    Amount { points: usize::MAX, stands: usize::MAX, late: usize::MAX, grid: usize::MAX, both: true };

/// The schedules by turns.
const TURNS: [Schedule; 6] = [
    Schedule::Turns { first: 0, strides: [1, 1] },
    Schedule::Turns { first: 1, strides: [1, 1] },
    Schedule::Turns { first: 0, strides: [2, 1] },
    Schedule::Turns { first: 0, strides: [1, 2] },
    Schedule::Turns { first: 1, strides: [3, 1] },
    Schedule::Turns { first: 0, strides: [1, 3] },
];

/// What happens when both have come to a point. Who is not killed goes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Kill(usize),
    /// This one stands still until the other one is done, and goes on …
    Stop(usize),
    /// … or is killed then.
    Late(usize),
}

impl Then {
    const ALL: [(Then, &str); 6] = [
        (Then::Kill(0), "kill-a"),
        (Then::Kill(1), "kill-b"),
        (Then::Stop(0), "stop-a"),
        (Then::Stop(1), "stop-b"),
        (Then::Late(0), "late-a"),
        (Then::Late(1), "late-b"),
    ];

    fn who(self) -> usize {
        let (Then::Kill(who) | Then::Stop(who) | Then::Late(who)) = self;
        who
    }

    fn name(self) -> &'static str {
        Then::ALL.iter().find(|(then, _)| *then == self).map_or("", |(_, name)| name)
    }
}

/// These are stepped through, to learn where what is shared is touched: one after the other, and by turns.
const LESSONS: [Schedule; 2] = [Schedule::Stands { first: 0, at: usize::MAX }, TURNS[0]];

/// Two, and how they are moved.
struct Match<'a> {
    two: Together,
    subject: Subject,
    schedule: Schedule,
    /// The instructions that touch something.
    known: Rc<BTreeSet<u64>>,
    dog: &'a Watchdog,
    /// Goes step by step, which takes its time.
    learns: bool,
}

/// Runs all of it, on all processors.
pub fn run(amount: Amount, only: Option<&str>, part: Option<(usize, usize)>, totals: &Arc<Totals>) {
    let all = operations::all_together().into_iter();
    let all = all.filter(|two| only.is_none_or(|only| two.name().contains(only))).enumerate();
    let all: Vec<Together> = all.filter(|(at, _)| is_in(part, *at)).map(|(_, two)| two).collect();
    let jobs = Arc::new(Mutex::new(all));
    let dog = Watchdog::start();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = |_| {
        let (totals, jobs, dog) = (Arc::clone(totals), Arc::clone(&jobs), dog.clone());
        std::thread::spawn(move || {
            trace::stay_on(NEXT.fetch_add(1, Relaxed));
            loop {
                let job = jobs.lock().expect("nobody panics in there").pop();
                let Some(two) = job else { return };
                match Match::learn(two, &dog) {
                    Ok(learned) => learned.all_schedules(amount, &totals),
                    Err(why) => violated(&totals, &two.name(), "learning", &why),
                }
            }
        })
    };
    let workers: Vec<_> = (0..processors).map(worker).collect();
    for worker in workers {
        if worker.join().is_err() {
            totals.violations.fetch_add(1, Relaxed);
        }
    }
}

/// One of them again, all ways unless told which.
pub fn again(name: &str, schedule: &str, moves: usize, then: &str, way: Option<u32>) -> Result<(), String> {
    let dog = Watchdog::start();
    let two = operations::together(name)
        .unwrap_or_else(|| mistaken(&format!("no two are called {name}; see stepkill list")));
    let then = Then::ALL.iter().find(|(_, name)| *name == then);
    let (then, _) = then.unwrap_or_else(|| mistaken("it is kill-, stop- or late- and a or b"));
    let schedule = schedule.parse().unwrap_or_else(|why: String| mistaken(&why));
    let it = Match::learn(two, &dog)?.by(schedule);
    let recording = it.record(0)?;
    if moves > recording.moves.len() {
        mistaken(&format!("it has {} moves", recording.moves.len()));
    }
    for way in way.map_or(0..WAYS, |way| way..way + 1) {
        let mut place = String::new();
        let there = it.one(&recording, moves, *then, way, &mut place);
        let there = there
            .map_err(|why| format!("{name} {schedule} {moves} {} {way}, {place}: {why}", then.name()))?;
        eprintln!("way {way}: {} {place}", if there { "fine," } else { "came elsewhere," });
    }
    Ok(())
}

/// So many of a row, evenly spread.
fn spread(number: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = number.min(most);
    (0..count).map(move |at| (2 * at + 1) * number / (2 * count))
}

impl<'a> Match<'a> {
    fn learn(two: Together, dog: &'a Watchdog) -> Result<Match<'a>, String> {
        let subject = Subject { operation: two.first, first: None };
        let learner = Match { two, subject, schedule: LESSONS[0], known: Rc::default(), dog, learns: true };
        let mut known = BTreeSet::new();
        for lesson in LESSONS {
            known.append(&mut learner.by(lesson).record(0)?.met);
        }
        Ok(Match { known: Rc::new(known), learns: false, ..learner })
    }

    fn by(&self, schedule: Schedule) -> Match<'a> {
        let (subject, known) = (self.subject.clone(), Rc::clone(&self.known));
        Match { two: self.two, subject, schedule, known, ..*self }
    }

    fn all_schedules(&self, amount: Amount, totals: &Totals) {
        let stands = [0, 1].map(|first| Schedule::Stands { first, at: usize::MAX });
        TURNS.into_iter().chain(stands).for_each(|schedule| self.by(schedule).all(amount, totals));
    }

    fn all(&self, amount: Amount, totals: &Totals) {
        let begin = Instant::now();
        let recording = match self.record(0) {
            Ok(recording) => recording,
            Err(why) => return self.violated(totals, 0, "recording", &why),
        };
        totals.lockstep.fetch_add(1, Relaxed);
        let (mut scenes, mut adrift) = (0, 0);
        let mut count = |there: bool| {
            scenes += 1;
            adrift += u64::from(!there);
        };
        if let Schedule::Stands { first, .. } = self.schedule {
            let alone = recording.moves.iter().take_while(|it| it.who == first).count();
            let places: Vec<usize> =
                (0..alone).filter(|at| amount.both || recording.is_delicate(*at)).collect();
            let stands: Vec<usize> = spread(places.len(), amount.stands).map(|at| places[at]).collect();
            for (turn, moves) in stands.iter().copied().enumerate() {
                count(self.try_one(&recording, moves, Then::Stop(first), turn, totals));
            }
            for (turn, at) in spread(stands.len(), amount.late).enumerate() {
                count(self.try_one(&recording, stands[at], Then::Late(first), turn, totals));
            }
            for at in spread(stands.len(), amount.grid).map(|at| stands[at]) {
                let it = self.by(Schedule::Stands { first, at });
                it.grid(amount, totals, &mut count);
            }
        } else {
            for (turn, moves) in spread(recording.moves.len(), amount.points).enumerate() {
                for who in 0..2 {
                    if recording.is_over(who, moves) || !amount.both && recording.moves[moves].who != who {
                        continue;
                    }
                    count(self.try_one(&recording, moves, Then::Kill(who), turn, totals));
                    if amount.both {
                        count(self.try_one(&recording, moves, Then::Stop(who), turn, totals));
                    }
                }
            }
        }
        totals.adrift.fetch_add(adrift, Relaxed);
        eprintln!(
            "{:<36} {:<6} {:>6} accesses {scenes:>5} scenes {adrift:>3} adrift {:>6.1} s",
            self.two.name(),
            self.schedule.to_string(),
            recording.moves.len(),
            begin.elapsed().as_secs_f64()
        );
    }

    /// One stands still at a point, the other one goes to any of its own, and one of them is killed.
    fn grid(&self, amount: Amount, totals: &Totals, count: &mut impl FnMut(bool)) {
        let Schedule::Stands { first, at } = self.schedule else { return };
        let recording = match self.record(at as u32 % WAYS) {
            Ok(recording) => recording,
            Err(why) => return self.violated(totals, 0, "recording", &why),
        };
        totals.lockstep.fetch_add(1, Relaxed);
        let other = recording.moves[at..].iter().take_while(|it| it.who != first).count();
        for (turn, moves) in spread(other, amount.grid).enumerate() {
            for who in 0..2 {
                count(self.try_one(&recording, at + moves, Then::Kill(who), at + turn, totals));
            }
        }
    }

    fn try_one(&self, recording: &Recording, moves: usize, then: Then, turn: usize, totals: &Totals) -> bool {
        let way = turn as u32 % WAYS;
        totals.points.fetch_add(1, Relaxed);
        totals.lockstep.fetch_add(1, Relaxed);
        let number = if matches!(then, Then::Stop(_)) { &totals.stops } else { &totals.kills };
        number.fetch_add(1, Relaxed);
        for _ in 0..TRIES {
            let mut place = String::new();
            match self.one(recording, moves, then, way, &mut place) {
                Ok(true) => return true,
                Ok(false) => {}
                Err(why) => {
                    let how = format!("{} {way}", then.name());
                    self.violated(
                        totals,
                        moves,
                        &place,
                        &format!("{why}\n    {}", self.command(moves, &how)),
                    );
                    return true;
                }
            }
        }
        false
    }

    fn command(&self, moves: usize, how: &str) -> String {
        format!("stepkill one-two {} {} {moves} {how}", self.two.name(), self.schedule)
    }

    fn violated(&self, totals: &Totals, moves: usize, place: &str, what: &str) {
        violated(totals, &format!("{} {} {moves}", self.two.name(), self.schedule), place, what);
    }

    fn scene(&self, way: u32) -> Result<Scene<'_>, String> {
        let mut scene = Scene::of_two(&self.subject, self.two.name(), way, self.dog)?;
        scene.slow = self.learns;
        Ok(scene)
    }

    /// Goes through it to the end of both, which has to be all right, too.
    fn record(&self, way: u32) -> Result<Recording, String> {
        let mut scene = self.scene(way)?;
        let mut two = scene.two(self.two.second.name, &self.known)?;
        let recording = self.watched(&mut two, LONG_WATCH, |two| self.schedule.record(two))?;
        let outcomes = [self.end(&mut scene, &mut two[0])?, self.end(&mut scene, &mut two[1])?];
        scene.ask(&format!("{}\t{}", outcomes[0], outcomes[1]))?;
        Ok(recording)
    }

    /// Brings two fresh processes to a point, and lets the survivor check what comes of it. `false`: they came elsewhere,
    /// and all was well there, too.
    fn one(
        &self,
        recording: &Recording,
        moves: usize,
        then: Then,
        way: u32,
        place: &mut String,
    ) -> Result<bool, String> {
        let mut scene = self.scene(way)?;
        let mut two = scene.two(self.two.second.name, &self.known)?;
        let there = self.watched(&mut two, WATCH, |two| self.schedule.go_to(recording, moves, two))?;
        *place = self.place(&two);
        let (who, other) = (then.who(), 1 - then.who());
        if let Then::Kill(_) = then {
            two[who].tracee.kill();
        }
        self.run(&mut two[other])?;
        match then {
            Then::Kill(_) => {}
            Then::Stop(_) => self.run(&mut two[who])?,
            Then::Late(_) => two[who].tracee.kill(),
        }
        let mut outcomes = [Outcome::Killed, Outcome::Killed];
        for one in 0..2 {
            if one == other || matches!(then, Then::Stop(_)) {
                outcomes[one] = self.end(&mut scene, &mut two[one])?;
            }
        }
        // Others may be busy for as long as they live.
        if matches!(then, Then::Kill(_)) && outcomes[other].to_string().contains("Busy {") {
            return Err(format!("{} after the other one was killed", outcomes[other]));
        }
        scene.ask(&format!("{}\t{}", outcomes[0], outcomes[1]))?;
        Ok(there)
    }

    /// Lets one go on to the end of its operation.
    fn run(&self, one: &mut Player) -> Result<(), String> {
        self.dog.watch(one.tracee.pid(), WATCH, || one.run())?
    }

    /// Lets it go after its operation; what came of that.
    fn end(&self, scene: &mut Scene, one: &mut Player) -> Result<Outcome, String> {
        scene.go_on(&mut one.tracee, true).map(Outcome::WentOn)
    }

    fn watched<R>(
        &self,
        two: &mut [Player; 2],
        patience: std::time::Duration,
        act: impl FnOnce(&mut [Player; 2]) -> Result<R, String>,
    ) -> Result<R, String> {
        let [one, other] = [0, 1].map(|who: usize| two[who].tracee.pid());
        self.dog.watch(one, patience, || self.dog.watch(other, patience, || act(two)))??
    }

    /// Where both stand.
    fn place(&self, two: &[Player; 2]) -> String {
        let place = |one: &Player| match one.stand {
            Stand::At(access) => {
                let maps = symbols::maps(one.tracee.pid());
                format!("{:?} {:#x} at {}", access.how, access.what, symbols::name(&maps, access.address))
            }
            other => format!("{other:?}"),
        };
        format!("a: {}, b: {}", place(&two[0]), place(&two[1]))
    }
}
