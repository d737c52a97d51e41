//! `tubepost serve`: answers each call with what a command prints.
//!
//! It owns the mailbox while it runs. The question is the command's standard input, and what it prints the answer. If
//! the command fails, or prints more than an answer may have, there is no answer, and the caller is told: no question
//! is tried twice.

use std::sync::{Arc, OnceLock, Weak};

use tubepost::{Call, Delivery, Domain, Error, Mailbox, Receiver, RecvError};

use crate::cli::Serve;
use crate::ending::{Ending, Reason};
use crate::exit::{Failure, complain};
use crate::job::{self, Jobs};

type Questions = Call<[u8], [u8]>;

/// What the threads that serve and the one that heeds signals know of each other.
struct Service {
    questions: Receiver<Questions>,
    /// The longest answer; a question may be as long.
    longest: u64,
    jobs: Jobs,
    told: OnceLock<Reason>,
}

pub fn run(domain: &Domain, args: &Serve) -> Result<(), Failure> {
    let ending = Ending::install()?;
    job::check(args.command())?;
    let questions = Mailbox::<Questions>::options().domain(domain).own(&args.name)?;
    let longest = questions.stat()?.max_message;
    let service = Arc::new(Service { questions, longest, jobs: Jobs::default(), told: OnceLock::new() });
    ending.watch(false, end_when_told(Arc::downgrade(&service)));
    let outcome = serve_side_by_side(&service, args);
    if let Some(&reason) = service.told.get() {
        return Err(Failure::quiet(reason.code()));
    }
    outcome.map_err(|failure| failure.about(&args.name))
}

/// What ends one of them ends all.
fn serve_side_by_side(service: &Service, args: &Serve) -> Result<(), Failure> {
    let failure = OnceLock::new();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.get() {
            scope.spawn(|| {
                if let Err(why) = serve(service, args) {
                    let _ = failure.set(why); // of the others only that it is closed is to be told
                }
                let _ = service.questions.close();
                service.jobs.end();
            });
        }
    });
    failure.into_inner().map_or(Ok(()), Err)
}

fn serve(service: &Service, args: &Serve) -> Result<(), Failure> {
    loop {
        match service.questions.take() {
            Ok(question) => answer(service, args, question)?,
            Err(RecvError::Failed(error)) => complain(format_args!("{}: {error}", args.name)), // of one message
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(service: &Service, args: &Serve, question: Delivery<Questions>) -> Result<(), Failure> {
    if !question.is_awaited() {
        return Ok(question.accept()?);
    }
    let number = question.seq();
    let told = match service.jobs.print(args.command(), &question, service.longest)? {
        None => return Ok(()), // it is time to end
        Some(Ok(answer)) => question.reply(&answer),
        Some(Err(why)) => {
            complain(format_args!("{}: question {number} is not answered: {why}", args.name));
            question.accept()
        }
    };
    match told {
        Err(error @ (Error::NotAwaited { .. } | Error::TooLong { .. })) => {
            complain(format_args!("{}: question {number}: {error}", args.name));
            Ok(())
        }
        done => Ok(done?),
    }
}

fn end_when_told(service: Weak<Service>) -> impl FnOnce(Reason) + Send {
    move |reason| {
        let Some(service) = service.upgrade() else { return };
        let _ = service.told.set(reason);
        let _ = service.questions.close();
        service.jobs.end();
    }
}
