//! A large task split over worker processes: each worker owns a mailbox with its jobs and sends
//! results to the one that started it. Here: how many primes there are below four million.
//!
//! `cargo run --release --example workers`

use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tubepost::{Domain, Error, Mailbox, Message, Sender};

/// Count the primes from `from` to `to`. An empty range means: no more jobs.
#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Job {
    from: u64,
    to: u64,
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Answer {
    worker: u64,
    primes: u64,
}

const LIMIT: u64 = 4_000_000;
const STEP: u64 = 50_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, worker] = &arguments[..] {
        return work(&Domain::open(domain)?, worker.parse()?);
    }

    let path = format!("/dev/shm/tubepost-example-workers-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let answers = Mailbox::<Answer>::options().domain(&domain).own("answers")?;

    let workers = std::thread::available_parallelism()?.get() as u64;
    let start = |worker: u64| Command::new(&arguments[0]).args([&path, &worker.to_string()]).spawn();
    let mut processes: Vec<Child> = (0..workers).map(start).collect::<Result<_, _>>()?;
    let jobs: Vec<Sender<Job>> =
        (0..workers).map(|worker| open(&domain, worker)).collect::<Result<_, _>>()?;

    let started = Instant::now();
    let mut left = (0..LIMIT).step_by(STEP as usize).map(|from| Job { from, to: from + STEP });
    let mut open_jobs = 0;
    // Two jobs for each to begin with, then a new one for each answer: the fast do more.
    for job in left.by_ref().take(workers as usize * 2) {
        jobs[open_jobs % jobs.len()].send(job)?;
        open_jobs += 1;
    }
    let mut primes = 0;
    let mut done = vec![0; jobs.len()];
    while open_jobs > 0 {
        let answer = answers.recv()?;
        primes += answer.primes;
        done[answer.worker as usize] += 1;
        open_jobs -= 1;
        if let Some(job) = left.next() {
            jobs[answer.worker as usize].send(job)?;
            open_jobs += 1;
        }
    }
    println!("{primes} primes below {LIMIT} in {:.0?}; jobs by worker: {done:?}", started.elapsed());
    assert_eq!(primes, 283_146);

    for job in &jobs {
        job.send(Job { from: 0, to: 0 })?;
    }
    for process in &mut processes {
        process.wait()?;
    }
    drop(answers);
    std::fs::remove_dir(path)?;
    Ok(())
}

/// The worker may need a moment to set its mailbox up.
fn open(domain: &Domain, worker: u64) -> Result<Sender<Job>, Error> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Sender::options().domain(domain).open(&format!("jobs/{worker}")) {
            Err(Error::NoSuchName { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

fn work(domain: &Domain, worker: u64) -> Result<(), Box<dyn std::error::Error>> {
    let jobs = Mailbox::<Job>::options().domain(domain).bounded(4).own(&format!("jobs/{worker}"))?;
    let answers = Sender::<Answer>::options().domain(domain).open("answers")?;
    for job in jobs.iter().take_while(|job| job.from < job.to) {
        let primes = (job.from..job.to).filter(|&n| is_prime(n)).count() as u64;
        answers.send(Answer { worker, primes })?;
    }
    Ok(())
}

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
