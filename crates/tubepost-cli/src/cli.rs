//! The command line: every verb and flag, defined once. Help, completions and man pages come from here.

pub mod files;
pub mod region;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::quantity::{Capacity, capacity, duration, mode, size};

/// Mailboxes between processes, in shared memory, from the shell
#[derive(Debug, Parser)]
#[command(name = "tubepost", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  tubepost demo                        a tour of what it does, with timings
  tubepost recv jobs --own             in one terminal: own a mailbox and print what arrives
  tubepost send jobs 'resize 7.png'    in another: send to it
  tubepost create work                 a mailbox that stays, for any number of `tubepost recv work`
  tubepost link alice bob              two processes that name each other: lines go both ways

Exit codes:
  0 done   1 failed   2 usage, a bad name too   3 would wait, or waited too long
  4 no such name, or its owner is dead   5 closed while it was used: its owner went, or it was
  removed; of a link, the other process died   6 a region was held for longer than the lease
  130, 143 ended by SIGINT, SIGTERM")]
pub struct Cli {
    /// Where mailboxes are: a name, or a path if it has a '/'; created if missing
    /// [default: what TUBEPOST_DOMAIN says, else the user's own on /dev/shm]
    #[arg(long, global = true, value_name = "NAME|PATH")]
    pub domain: Option<OsString>,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// A two-process tour with timings; ends by itself in a few seconds
    #[command(after_help = "\
Example:
  tubepost demo

It works in a temporary domain of its own and leaves nothing behind. The exit code is 0 only if
everything went as promised.")]
    Demo,

    /// Send messages to a mailbox
    #[command(after_help = "\
Examples:
  tubepost send jobs 'resize 7.png' 'resize 8.png'   two messages
  tail -f app.log | tubepost send log                each line a message, as soon as it is written
  find . -print0 | tubepost send -0 files            names with any character in them
  tubepost send --whole pictures < 7.png             all of a file as one message
  tubepost send --timeout 2s jobs 'resize 9.png'     exit with 3 if there is no room for 2 s
  tubepost send --collected jobs 'resize 9.png'      come back when somebody has received it")]
    Send(Send),

    /// Print the messages that arrive: in a mailbox of one's own, or one that the system owns
    #[command(after_help = "\
Examples:
  tubepost recv jobs --own                           until interrupted; the mailbox ends with it
  tubepost recv jobs --own --count 10 --timeout 1m   ten messages; give up after a minute without
  tubepost recv files --own -0 | xargs -0 ls -l      names with any character in them
  tubepost recv readings --own --json | jq .sender   who sent what
  tubepost create work; tubepost recv work           any number of these share the work
  tubepost recv work --ack --count 1 > job.txt       a message that is not written goes back
  tubepost recv votes --own --strategy sealed --mode 620 --group staff
                                                     from others who may send, and share no memory

Without --own each message goes to one of the receivers. What a receiver had not written when it
was killed, or its pipe closed, is lost; with --ack another receiver gets it, marked as
redelivered.

With --strategy kernel or sealed a sender that goes wrong, or means harm, spoils its own messages
and no others:
  kernel   0 to 65536 messages wait, if a socket's buffer holds so many of the longest
  sealed   1 to 65536 messages of each sender, in memory that is that sender's own
Senders need not say which it is. Other users need a domain that lets them in: see
`tubepost create --help`.")]
    Recv(Recv),

    /// Ask questions in a mailbox, and print the answers
    #[command(after_help = "\
Examples:
  tubepost call upper 'grüß dich'            one question, one answer
  tubepost call upper < letter.txt           each line is a question
  tubepost call upper hello --timeout 2s     exit with 3 if there is no answer in time

A question that nobody answers although it was received makes the exit code 1.")]
    Call(Call),

    /// Answer each question in a mailbox with what a command prints
    #[command(after_help = "\
Examples:
  tubepost serve upper -- tr a-z A-Z         in one terminal
  tubepost call upper hello                  in another: prints HELLO
  tubepost serve sum --jobs 4 -- sh -c 'bc -l'   whatever reads a question and prints an answer

The question is the command's standard input, what it prints is the answer. If it fails, or prints
more than an answer may have, there is none, and the caller is told. One slow command holds up the
questions behind it: --jobs says how many are answered at one time. The mailbox is this process's,
and ends with it.")]
    Serve(Serve),

    /// Run a command for each message: a queue of work, for any number of workers
    #[command(after_help = "\
Examples:
  tubepost create jobs; find . -name '*.png' | tubepost send jobs
  tubepost run jobs --jobs 4 -- sh -c 'read -r file; convert \"$file\" \"${file%.png}.webp\"'
  tubepost run jobs --until-empty -- ./resize        end when all is done
  tubepost run jobs --max-redeliveries 2 --dead-letter failed -- ./resize
  tubepost run jobs --hold-max 1m -- ./resize        who takes longer, another does it again
  tubepost run jobs -- setpriv --pdeathsig KILL ./resize   it dies with run, however that ends

The message is the command's standard input, all of it there before it starts. It is consumed if
the command exits with 0; otherwise, or when run dies, it goes back to the queue, and some worker
gets it again.

Told to end (SIGINT, SIGTERM), run ends its commands. If it is killed (kill -9) they go on, while
another worker gets their messages; `setpriv` of util-linux, as above, prevents that for the
command itself, not for what it started.")]
    Run(Run),

    /// Talk with another process, line by line
    #[command(after_help = "\
Examples:
  tubepost link alice bob                    in one terminal
  tubepost link bob alice                    in another: each prints what is typed in the other
  ./sensor | tubepost link sensor monitor    what a program writes; answers are printed
  tubepost link alice bob --strategy kernel  the kernel copies what is said; no memory is shared

It joins under the name ME, waits for PEER to join, and ends when that one does: with exit code 0
if it ended, 5 if it died. When standard input ends it sends nothing more, and goes on receiving
until that one ends, or has nothing more to say either. At the end it says on standard error how
many lines that one never received, and how many were not sent, if there are any; that alone
changes no exit code.")]
    Link(Link),

    /// Print what any process sends to this one
    #[command(after_help = "\
Examples:
  tubepost inbox monitor                     until interrupted: who sent it, a tab, the text
  tubepost tell door monitor open            in another terminal

A message of several lines is printed as so many lines, each with its sender. Messages of any label are
printed, but not those of a type with a fixed length.")]
    Inbox(Inbox),

    /// Send to a process that has joined: join, send, leave
    #[command(after_help = "\
Examples:
  tubepost tell door monitor open 'open still'      two messages, from door to monitor
  tubepost tell door monitor open --timeout 2s      exit with 3 if there is no room for 2 s

PEER must have joined (`tubepost link` and `tubepost inbox` do): if not, the exit code is 4, at
once. If the link is full, as it is when nobody receives, it waits for room. What was sent waits
for PEER as long as that one lives.")]
    Tell(Tell),

    /// Create a mailbox that the system owns: it stays until it is removed
    #[command(after_help = "\
Examples:
  tubepost create jobs                            for any number of `send jobs` and `recv jobs`
  tubepost create jobs --if-missing               in a script that may run more than once
  tubepost create jobs --mode 620 --group staff   the group may send, only you receive
  tubepost create pictures --capacity 100 --max-message 64MiB
  tubepost create orders --strategy file --fsync each   outlives the machine's running, and the loss of power

The mode is as for files, for owner, group and others: r (4) is to receive, w (2) to send. Other
users need a domain that lets them in: chgrp GROUP DIR; chmod 3770 DIR; tubepost --domain DIR …

It stays when everybody who uses it has ended, messages included, until `tubepost rm` removes it
or the machine restarts; in files, also then.")]
    Create(Create),

    /// Shared data with readers, writers and leases: create, write, read, watch, hold
    #[command(
        subcommand,
        after_help = "\
Examples:
  tubepost region create board 64KiB
  tubepost region write board < notice.txt
  tubepost region read board --len 100
  tubepost region watch board

Readers have a whole version, always, and wait for nobody. Writers take turns; one that holds the
region for longer than its lease while another waits has changed nothing. `tubepost stat board`
shows who reads and writes, `tubepost rm board` removes it."
    )]
    Region(region::Region),

    /// Look at the messages of a mailbox that is kept in files, and repair them: verify, dump, repair
    #[command(
        subcommand,
        after_help = "\
Examples:
  tubepost journal verify orders && echo all is well
  tubepost journal dump orders --from 1200 | cut -f5
  tubepost journal repair orders                     when nobody uses it"
    )]
    Journal(files::Journal),

    /// Remove a mailbox, with the messages that wait in it, a region, or what a dead process left
    #[command(after_help = "\
Examples:
  tubepost rm jobs
  tubepost rm jobs --force           also if a living process owns it

Whoever uses it is told that it is closed (exit code 5). The name of a process that joined, and a
link (alice~bob), go with the processes: those of the living are refused, also with --force; those
of the dead are removed.")]
    Rm {
        /// The mailbox, region or segment; or a process, or a link, of the dead
        name: String,
        /// Also if a living process owns it
        #[arg(long)]
        force: bool,
    },

    /// List everything that exists in the domain
    #[command(after_help = "\
Examples:
  tubepost ls
  tubepost ls --json | jq -r '.[] | select(.depth > 0) | .name'

Regions and segments have a table of their own, behind that of mailboxes. Files that are damaged, or
none of ours at all, are reported on standard error.")]
    Ls {
        /// One JSON array
        #[arg(long)]
        json: bool,
    },

    /// Show everything there is to know about one mailbox, process, link or region
    #[command(after_help = "\
Examples:
  tubepost stat jobs
  tubepost stat jobs --json | jq .depth
  tubepost stat alice~bob            the way from alice to bob")]
    Stat {
        /// The mailbox, process, region or segment; or the link, as who sends, '~', who receives
        name: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },

    /// Remove what dead processes left
    #[command(after_help = "\
Example:
  tubepost gc

Nothing depends on it: whoever meets a dead process's leavings puts them away. It never touches
what belongs to a process that lives, stopped ones included.")]
    Gc,

    /// Measure it against what this machine can do at all
    #[command(after_help = "\
Examples:
  tubepost bench                         everything, in under three minutes
  tubepost bench --quick                 everything, in under 40 seconds
  tubepost bench mailbox latency 8       only rows that are all of this
  tubepost bench --json > figures.json

WHAT is any of: mailbox, system-mailbox, unbounded, rendezvous, batch, loan, async, async-ready,
recv-ready, collected, call, link, pair, inbox-1, inbox-10, inbox-100, inbox-1000, kernel-mailbox,
kernel-link, sealed-mailbox, file-mailbox, file-append, file-each, file-each-of-8, file-replay,
region-read, region-get, region-write, region-range-1m, region-range-256m, in-place-get,
in-place-write, cache-line, copy, memcpy, ring, ring-batch, futex, pipe, unix-socket, packets,
rwlock-read, rwlock-write, seqlock-read, mmap-append, fdatasync; latency, stream; spin, block;
two-cores, idle-poll, one-core, four-cores; or a length: 8, 56, 64, 1024, 4096, 65536, 1048576.
Words about the same thing widen the choice, others narrow it. The
limits that rows are held against are always measured with them, in the same run.")]
    Bench {
        /// Words that rows must match
        what: Vec<String>,
        /// Fewer and shorter rounds
        #[arg(long)]
        quick: bool,
        /// One JSON object: the machine, and the rows
        #[arg(long)]
        json: bool,
    },

    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  tubepost completions bash > ~/.local/share/bash-completion/completions/tubepost
  tubepost completions zsh > ~/.zfunc/_tubepost
  tubepost completions fish > ~/.config/fish/completions/tubepost.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },

    /// Print the man page, or write one for each verb into a directory
    #[command(after_help = "\
Examples:
  tubepost man | man -l -
  tubepost man ~/.local/share/man/man1")]
    Man {
        /// Where to write them
        directory: Option<PathBuf>,
    },

    #[command(name = crate::bench::FAR, hide = true)]
    BenchFar { directory: PathBuf, parent: u32 },

    #[command(name = crate::demo::PART, hide = true)]
    DemoPart { part: crate::demo::Part, directory: PathBuf, parent: u32 },
}

#[derive(Debug, Args)]
pub struct Send {
    /// The mailbox
    pub name: String,
    /// A message each; without any, each line of standard input is one
    pub text: Vec<OsString>,
    /// Messages on standard input end with NUL instead of a newline
    #[arg(short = '0', long = "null", conflicts_with = "text")]
    pub null: bool,
    /// All of standard input is one message
    #[arg(long, conflicts_with_all = ["text", "null"])]
    pub whole: bool,
    /// Give up (exit code 3) when there is no room
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Wait until a receiver has each message
    #[arg(long, conflicts_with = "no_wait")]
    pub collected: bool,
    /// Give up (exit code 3) when there is no room for so long, or with --collected when nobody has received it by then;
    /// for each message anew
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Insist that the mailbox carries this format; without it, whatever it carries is right
    #[arg(long, value_name = "LABEL")]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
pub struct Recv {
    /// The mailbox
    pub name: String,
    /// How messages travel to a mailbox of one's own: through shared memory, or, for senders that are not trusted, copied by
    /// the kernel, or through sealed memory that each of them has with this process [default: shared]
    #[arg(long, value_enum, value_name = "shared|kernel|sealed", requires = "own")]
    pub strategy: Option<How>,
    /// Create it, and own it while this runs; without, it is one that the system owns
    #[arg(long)]
    pub own: bool,
    /// How many messages may wait, so that a sender waits too: a number; 0, and each send waits for its
    /// receiver; or unbounded [default: 1024; kernel: as many as fit, at most 1024]
    #[arg(long, value_name = "N|unbounded", value_parser = capacity, requires = "own")]
    pub capacity: Option<Capacity>,
    /// The longest message, such as 4096, 64KiB or 1GiB [default: 1MiB; kernel: 64KiB, or with a capacity what fits]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "own")]
    pub max_message: Option<u64>,
    /// The most memory that messages may have which are too long for their places, or, where it is unbounded,
    /// all messages [default: as much as there is, if the capacity needs it]; sealed: the memory that each sender
    /// has [default: 1MiB, or one message]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "own")]
    pub ceiling: Option<u64>,
    /// What the messages are: with --own, senders that say something else are refused; else insist that
    /// the mailbox carries this
    #[arg(long, value_name = "LABEL")]
    pub format: Option<String>,
    /// Who else may send (2), for owner, group and others, such as 620; only this process receives [default: 600]
    #[arg(long, value_name = "OCTAL", value_parser = mode, requires = "own")]
    pub mode: Option<u32>,
    /// The group that the mode speaks of: its name or number [default: your own]
    #[arg(long, value_name = "G", requires = "own")]
    pub group: Option<String>,
    /// A message counts as received only once it is written; else, whatever happens, it goes back to
    /// the queue
    #[arg(long)]
    pub ack: bool,
    /// Read by an independent place of this name, in a mailbox that is kept in files: every message, whoever else receives
    #[arg(long, value_name = "NAME", conflicts_with_all = ["own", "ack"])]
    pub cursor: Option<String>,
    /// Where the cursor begins: at the start, the end, a message's number, a time (2026-11-22T10:00:00Z), or so long ago (5m)
    /// [default: where it was, or the start]
    #[arg(long, value_name = "start|end|SEQ|TIME", value_parser = files::from, requires = "cursor")]
    pub from: Option<tubepost::From>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Take what is there and end; exit code 3 if nothing is, or less than --count
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Give up (exit code 3) when no message comes for so long; for each message anew
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Nothing after a message
    #[arg(long, group = "form")]
    pub raw: bool,
    /// NUL after each message instead of a newline
    #[arg(short = '0', long = "null", group = "form")]
    pub null: bool,
    /// A line of JSON for each message: who sent it, its number, and the text, or base64 if it is none
    #[arg(long, group = "form")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Link {
    /// What this process is called
    pub me: String,
    /// The other process
    pub peer: String,
    /// How messages travel, both ways: through shared memory, or copied by the kernel. Whoever uses the link first decides;
    /// another choice than that is refused [default: as it is; else shared]
    #[arg(long, value_enum, value_name = "shared|kernel")]
    pub strategy: Option<HowLinked>,
    /// What the lines are, for programs that want a label, such as str for Rust's `link::<str>`; another one than the link's is
    /// refused [default: whatever the link carries, if PEER has set it up; else bytes without a label]
    #[arg(long, value_name = "LABEL")]
    pub format: Option<String>,
    /// Give up (exit code 4) when PEER has not joined for so long
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Tell {
    /// What this process is called
    pub me: String,
    /// The process to send to
    pub peer: String,
    /// A message each
    #[arg(required = true)]
    pub text: Vec<OsString>,
    /// What the messages are, for programs that want a label, such as str for Rust's `inbox::<str>`; another one than the link's is
    /// refused [default: whatever the link carries, if PEER has set it up; else bytes without a label]
    #[arg(long, value_name = "LABEL")]
    pub format: Option<String>,
    /// Give up (exit code 3) when there is no room for so long; for each message anew
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Inbox {
    /// What this process is called
    pub me: String,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Give up (exit code 3) when no message comes for so long; for each message anew
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Call {
    /// The mailbox
    pub name: String,
    /// A question each; without any, each line of standard input is one
    pub text: Vec<OsString>,
    /// Give up (exit code 3) when there is no answer for so long; for each question anew
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// The mailbox, created and owned while this runs
    pub name: String,
    /// So many commands at one time
    #[arg(long, value_name = "N", default_value = "1")]
    pub jobs: NonZeroU32,
    /// What to run for each question
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Serve {
    pub fn command(&self) -> CommandLine<'_> {
        CommandLine(&self.command)
    }
}

#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The mailbox: one that the system owns
    pub name: String,
    /// So many commands at one time
    #[arg(long, value_name = "N", default_value = "1")]
    pub jobs: NonZeroU32,
    /// End, with exit code 0, when nothing is queued and nothing in hand any more. Dead letters that can't be delivered
    /// are queued still: it says so, and waits
    #[arg(long)]
    pub until_empty: bool,
    /// A message whose command failed so often, and once more, is not tried again
    #[arg(long, value_name = "N")]
    pub max_redeliveries: Option<u32>,
    /// … but goes to this mailbox, which is created (unbounded) if it is missing, and again if it is removed then
    #[arg(long, value_name = "NAME", requires = "max_redeliveries")]
    pub dead_letter: Option<String>,
    /// A command that takes longer while another worker has nothing to do does not count: its message goes to that
    /// one
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub hold_max: Option<Duration>,
    /// What to run for each message
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    pub fn command(&self) -> CommandLine<'_> {
        CommandLine(&self.command)
    }
}

/// A command and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<'a>(pub &'a [OsString]);

impl std::fmt::Display for CommandLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.0.join(std::ffi::OsStr::new(" ")).to_string_lossy())
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// The mailbox
    pub name: String,
    /// How many messages may wait, so that a sender waits too: a number; 0, and each send waits for its
    /// receiver; or unbounded [default: 1024; in files: unbounded]
    #[arg(long, value_name = "N|unbounded", value_parser = capacity)]
    pub capacity: Option<Capacity>,
    /// The longest message, such as 4096, 64KiB or 1GiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_message: Option<u64>,
    /// The most memory that messages may have which are too long for their places, or, where it is unbounded,
    /// all messages [default: as much as there is, if the capacity needs it]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub ceiling: Option<u64>,
    /// What the messages are; senders and receivers that say something else are refused
    #[arg(long, value_name = "LABEL")]
    pub format: Option<String>,
    /// Who may receive (4) and send (2), for owner, group and others, such as 660 [default: 600]
    #[arg(long, value_name = "OCTAL", value_parser = mode)]
    pub mode: Option<u32>,
    /// The group that the mode speaks of: its name or number [default: your own]
    #[arg(long, value_name = "G")]
    pub group: Option<String>,
    /// If something has this name already, leave it as it is, and all is well
    #[arg(long)]
    pub if_missing: bool,
    #[command(flatten)]
    pub in_files: files::InFiles,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    Shared,
    Kernel,
    Sealed,
}

impl From<How> for tubepost::Strategy {
    fn from(how: How) -> Self {
        match how {
            How::Shared => tubepost::Strategy::Shared,
            How::Kernel => tubepost::Strategy::Kernel,
            How::Sealed => tubepost::Strategy::Sealed,
        }
    }
}

/// The same in a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HowLinked {
    Shared,
    Kernel,
}

impl From<HowLinked> for tubepost::Strategy {
    fn from(how: HowLinked) -> Self {
        match how {
            HowLinked::Shared => tubepost::Strategy::Shared,
            HowLinked::Kernel => tubepost::Strategy::Kernel,
        }
    }
}
