//! The two ends of the mailbox as the survivor has them: of messages, or of questions and answers.
//!
//! A message that is sent is a question there, which nobody waits for: its deadline has passed when it is asked. Whether it
//! was sent all the same the claims tell, or the offers. A message that is received is a question that is answered.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tubepost::{
    Call, CallError, Closed, Domain, Error, Mailbox, Message, Options, Receiver, RecvTimeoutError,
    SendTimeoutError, Sender, TrySendError,
};

use crate::filed;
use crate::layout;
use crate::letters::{self, JUDGE, Number};
use crate::world::{BOX, World};

/// Questions and answers.
pub type Questions = Call<[u8], [u8]>;

/// Enough for all that is ever sent; so little that few addresses are needed.
const ENDLESS_CEILING: u64 = 4 << 20;

/// How the mailbox is made, whoever makes it.
pub fn options<M: Message + ?Sized>(domain: &Domain, world: &World) -> Options<M> {
    let options = Mailbox::<M>::options().domain(domain).max_message(world.longest);
    let options = match world.segments {
        0 => options.bounded(world.capacity),
        places => options.unbounded().segments_of(places).ceiling(ENDLESS_CEILING),
    };
    let options = match world.filed {
        Some(how) => options.strategy(filed::kept(domain, how)),
        None => options,
    };
    let options = world.ceiling.iter().fold(options, |options, ceiling| options.ceiling(*ceiling));
    options.member("maker").spin(Duration::ZERO)
}

/// The answer that somebody gives to a question: whose, and to which, is in it.
pub fn answer(who: u8, question: &[u8], length: usize) -> Vec<u8> {
    let (sender, number) = letters::read(question).unwrap_or((0, 0));
    letters::write((who, number << 8 | u32::from(sender)), length)
}

/// Who gave this answer; an error if it is not one to this question.
pub fn answered_by(question: Number, answer: &[u8]) -> Result<u8, String> {
    let (who, which) = letters::read(answer).map_err(|why| format!("an answer: {why}"))?;
    let asked = (which as u8, which >> 8);
    if asked == question {
        Ok(who)
    } else {
        Err(format!("question {question:?} has the answer to {asked:?}"))
    }
}

/// Why something was not sent.
#[derive(Debug)]
pub enum NotSent {
    /// No place is free.
    Full,
    Closed(Closed),
    Failed(String),
}

/// Where the survivor sends.
#[derive(Clone)]
pub enum Out {
    Plain(Sender<[u8]>),
    /// And the mailbox's file.
    Asks(Sender<Questions>, Arc<File>),
}

impl Out {
    pub fn open(domain: &Domain, world: &World) -> Result<Out, Error> {
        if world.asks.is_some() {
            let sender = Sender::options().domain(domain).member("judge").open(BOX)?;
            let file = File::open(domain.path().join(BOX)).expect("nobody takes its name away meanwhile");
            return Ok(Out::Asks(sender, Arc::new(file)));
        }
        Sender::options().domain(domain).member("judge").open(BOX).map(Out::Plain)
    }

    /// Where there are no answers.
    pub fn plain(&self) -> &Sender<[u8]> {
        match self {
            Out::Plain(sender) => sender,
            Out::Asks(..) => panic!("it is for questions"),
        }
    }

    /// Where there are.
    pub fn asks(&self) -> &Sender<Questions> {
        match self {
            Out::Asks(sender, _) => sender,
            Out::Plain(_) => panic!("it is not for questions"),
        }
    }

    pub fn id(&self) -> String {
        match self {
            Out::Plain(sender) => sender.id().to_string(),
            Out::Asks(sender, _) => sender.id().to_string(),
        }
    }

    pub fn closed_timeout(&self, patience: Duration) -> Result<Option<Closed>, Error> {
        match self {
            Out::Plain(sender) => sender.closed_timeout(patience),
            Out::Asks(sender, _) => sender.closed_timeout(patience),
        }
    }

    pub fn try_send(&self, letter: &[u8]) -> Result<(), NotSent> {
        match self {
            Out::Plain(sender) => sender.try_send(letter).map_err(|error| match error {
                TrySendError::Closed(_, closed) => NotSent::Closed(closed),
                error if error.is_full() => NotSent::Full,
                error => NotSent::Failed(error.to_string()),
            }),
            Out::Asks(sender, file) => ask_in_vain(sender, file, letter),
        }
    }

    pub fn send_timeout(&self, letter: &[u8], patience: Duration) -> Result<(), NotSent> {
        match self {
            Out::Plain(sender) => sender.send_timeout(letter, patience).map_err(|error| match error {
                SendTimeoutError::Closed(_, closed) => NotSent::Closed(closed),
                error if error.is_timeout() => NotSent::Full,
                error => NotSent::Failed(error.to_string()),
            }),
            Out::Asks(sender, file) => {
                let end = Instant::now() + patience;
                loop {
                    match ask_in_vain(sender, file, letter) {
                        Err(NotSent::Full) if Instant::now() < end => std::thread::yield_now(),
                        done => return done,
                    }
                }
            }
        }
    }
}

/// Asks, and gives up at once. Nobody else sends meanwhile.
fn ask_in_vain(sender: &Sender<Questions>, file: &File, letter: &[u8]) -> Result<(), NotSent> {
    let before = layout::asked(file);
    match sender.call_deadline(letter, Instant::now()) {
        Err(CallError::Timeout(_)) if !layout::was_sent(file, before) => Err(NotSent::Full),
        Ok(_) | Err(CallError::Timeout(_) | CallError::Unanswered(_)) => Ok(()),
        Err(CallError::Closed(_, closed, _)) => Err(NotSent::Closed(closed)),
        Err(CallError::Failed(_, error)) => Err(NotSent::Failed(error.to_string())),
    }
}

/// Where the survivor receives.
#[derive(Clone)]
pub enum Inbox {
    Plain(Receiver<[u8]>),
    /// And how long its answers are.
    Answers(Receiver<Questions>, usize),
}

impl Inbox {
    pub fn own(domain: &Domain, world: &World) -> Result<Inbox, Error> {
        if world.asks.is_some() {
            let inbox = options::<Questions>(domain, world).own(BOX)?;
            return Ok(Inbox::Answers(inbox, world.length));
        }
        options::<[u8]>(domain, world).own(BOX).map(Inbox::Plain)
    }

    /// Makes it for the system.
    pub fn create(domain: &Domain, world: &World) -> Result<(), Error> {
        if world.asks.is_some() {
            return options::<Questions>(domain, world).create(BOX).map(|_| ());
        }
        options::<[u8]>(domain, world).create(BOX).map(|_| ())
    }

    /// A newcomer.
    pub fn join(domain: &Domain, world: &World) -> Inbox {
        if world.asks.is_some() {
            let inbox = Receiver::options().domain(domain).member("judge").open(BOX);
            return Inbox::Answers(inbox.expect("it exists"), world.length);
        }
        Inbox::Plain(Receiver::options().domain(domain).member("judge").open(BOX).expect("it exists"))
    }

    /// Where nothing is answered.
    pub fn plain(&self) -> &Receiver<[u8]> {
        match self {
            Inbox::Plain(receiver) => receiver,
            Inbox::Answers(..) => panic!("it is for questions"),
        }
    }

    /// The next message, and how often it was delivered before. A question is answered, whether somebody waits or not.
    pub fn receive(&self, patience: Duration) -> Result<(Vec<u8>, u32), RecvTimeoutError> {
        match self {
            Inbox::Plain(receiver) => receiver
                .recv_envelope_timeout(patience)
                .map(|envelope| (envelope.message, envelope.redelivered)),
            Inbox::Answers(receiver, length) => {
                let question = receiver.take_timeout(patience)?;
                let (letter, redelivered) = (question.to_vec(), question.redelivered());
                let awaited = question.is_awaited();
                match question.reply(&answer(JUDGE, &letter, *length)) {
                    Ok(()) => assert!(awaited, "nobody waited, and there was somebody to answer"),
                    Err(Error::NotAwaited { .. }) => {}
                    Err(error) => panic!("an answer was refused: {error}"),
                }
                Ok((letter, redelivered))
            }
        }
    }

    pub fn close(&self) -> Result<Closed, Error> {
        match self {
            Inbox::Plain(receiver) => receiver.close(),
            Inbox::Answers(receiver, _) => receiver.close(),
        }
    }
}
