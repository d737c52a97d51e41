//! Work shared by processes that may die: a mailbox that the system owns, any number of workers who
//! receive from it, and a job that is done only when its worker says so. Here: how many primes
//! there are below four million, although one of the workers is killed in the middle of it.
//!
//! `cargo run --release --example workers`

use std::process::{Child, Command};
use std::time::Instant;
use tubepost::{Domain, Mailbox, Message, Receiver, RecvError, Sender};

/// Count the primes from `from` to `to`.
#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Job {
    number: u64,
    from: u64,
    to: u64,
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Answer {
    job: u64,
    primes: u64,
    worker: u64,
}

const LIMIT: u64 = 4_000_000;
const STEP: u64 = 50_000;
const WORKERS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, worker] = &arguments[..] {
        return work(&Domain::open(domain)?, worker.parse()?);
    }

    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-workers-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let answers = Mailbox::<Answer>::options().domain(&domain).own("answers")?;
    // The jobs belong to none of the processes: they outlive all of them.
    Mailbox::<Job>::options().domain(&domain).create("jobs")?;

    let start = |worker: usize| Command::new(&arguments[0]).args([&path, &worker.to_string()]).spawn();
    let mut workers: Vec<Child> = (0..WORKERS).map(start).collect::<Result<_, _>>()?;

    let started = Instant::now();
    let jobs = Sender::<Job>::options().domain(&domain).open("jobs")?;
    let ranges = (0..LIMIT).step_by(STEP as usize);
    for (number, from) in ranges.clone().enumerate() {
        jobs.send(Job { number: number as u64, from, to: from + STEP })?;
    }

    let mut primes = vec![None; ranges.count()];
    let mut done = [0; WORKERS];
    while primes.contains(&None) {
        let answer = answers.recv()?;
        let worker = answer.worker as usize;
        // A worker that died between its answer and `accept` left its job to another, who answers
        // again: each job counts once.
        if primes[answer.job as usize].replace(answer.primes).is_none() {
            done[worker] += 1;
        }
        if worker == 0 && done[0] == 5 {
            workers[0].kill()?; // it is at its next job already
        }
    }
    let primes: u64 = primes.into_iter().flatten().sum();
    println!("{primes} primes below {LIMIT} in {:.0?}; jobs by worker: {done:?}", started.elapsed());
    println!("worker 0 was killed; nothing was lost");
    assert_eq!(primes, 283_146);

    // Whoever waits for jobs is told that there are no more.
    domain.remove("jobs")?;
    for mut worker in workers {
        worker.wait()?;
    }
    drop(answers);
    std::fs::remove_dir(path)?;
    Ok(())
}

fn work(domain: &Domain, worker: u64) -> Result<(), Box<dyn std::error::Error>> {
    let jobs = Receiver::<Job>::options().domain(domain).open("jobs")?;
    let answers = Sender::<Answer>::options().domain(domain).open("answers")?;
    loop {
        // In hand, not yet received: if this process dies now, another gets it.
        let job = match jobs.take() {
            Ok(job) => job,
            Err(RecvError::Closed(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let primes = (job.from..job.to).filter(|&n| is_prime(n)).count() as u64;
        answers.send(Answer { job: job.number, primes, worker })?;
        job.accept()?;
    }
}

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
