//! What `tubepost region` understands.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use crate::quantity::{duration, mode, size};

#[derive(Debug, Subcommand)]
pub enum Region {
    /// Create a region that the system owns: it stays until `tubepost rm`
    #[command(after_help = "\
Examples:
  tubepost region create board 64KiB
  tubepost region create map 256MiB --lease-max 100ms
  tubepost region create board 4096 --mode 640 --group staff   the group may read, only you write

Its data are zeros, in version 1. The mode is as for files, for owner, group and others: r (4) is to
read, w (2) to write; who writes reads. Other users need a domain that lets them in: see
`tubepost create --help`.")]
    Create(Create),

    /// Replace bytes of a region by what is on standard input, in one new version
    #[command(after_help = "\
Examples:
  tubepost region write board < notice.txt
  printf '%s' 42 | tubepost region write board --at 1KiB
  tubepost region write board --timeout 2s < notice.txt   exit with 3 if it is others' turn for so long

Nothing is changed before all of standard input is there. If it is longer than the region, nothing
is changed at all.")]
    Write(Write),

    /// Print the bytes of a region, all of one version
    #[command(after_help = "\
Examples:
  tubepost region read board > board.bin
  tubepost region read board --at 1KiB --len 16

It waits for nobody. A version that is printed stays as it is, however slowly it is read.")]
    Read(Read),

    /// Print the number of each new version of a region that is seen, a line each
    #[command(after_help = "\
Example:
  tubepost region watch board | while read -r version; do tubepost region read board; done

Where versions come faster than they are printed, only the newest is seen. It ends with exit code 5
when the region is over.")]
    Watch(Watch),

    /// Make a region sound again that is poisoned: with what is on standard input, or as it was left
    #[command(after_help = "\
Examples:
  tubepost region repair map < map.bin      all of its bytes anew
  tubepost region repair map --keep         the bytes that are there, half edited as they may be

A region that is edited in place is poisoned when a writer was killed, was late, or gave up in the
middle; nobody reads or writes it until it is repaired. A writer that is late has another lease_max
to let go; then the data is moved to where it can't write. A region that is sound stays as it is,
and that is said on standard error.")]
    Repair(Repair),

    /// Hold a region for a while: the version there is, or the right to write
    #[command(after_help = "\
Examples:
  tubepost region hold board --write --for 2s                who waits longer than lease_max takes over
  tubepost region hold board --write --for 2s --lease 10ms   … or longer than 10 ms: exit code 6
  tubepost region hold board --read --for 1m                 others go on; the version stays as it is

It says on standard error when it has it. At the end of a hold to write there is a new version, with
the same bytes; if the lease has expired, because somebody waited for so long, there is none. One to
read whose version was replaced for longer than its lease ends with 6 too; but of a region in place,
where it has a copy, which keeps nobody from anything. If the region goes meanwhile: exit code 5.")]
    Hold(Hold),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The region
    pub name: String,
    /// How many bytes of data it has, such as 4096, 64KiB or 1GiB
    #[arg(value_parser = size)]
    pub size: u64,
    /// One copy of the data, for what is too large to have twice: readers and writers lock each other out, and a writer that
    /// dies leaves it to be repaired
    #[arg(long)]
    pub in_place: bool,
    /// How long a writer may hold it while others wait [default: 1s]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub lease_max: Option<Duration>,
    /// What the bytes are; who opens it and says something else is refused
    #[arg(long, value_name = "LABEL")]
    pub format: Option<String>,
    /// Who may read (4) and write (2), for owner, group and others, such as 640 [default: 600]
    #[arg(long, value_name = "OCTAL", value_parser = mode)]
    pub mode: Option<u32>,
    /// The group that the mode speaks of: its name or number [default: your own]
    #[arg(long, value_name = "G")]
    pub group: Option<String>,
    /// If something has this name already, leave it as it is, and all is well
    #[arg(long)]
    pub if_missing: bool,
}

#[derive(Debug, Args)]
pub struct Write {
    /// The region
    pub name: String,
    /// Where to begin, such as 4096 or 64KiB
    #[arg(long, value_name = "OFFSET", value_parser = size, default_value = "0", hide_default_value = true)]
    pub at: u64,
    /// Give up (exit code 3) when it is others' turn to write for so long
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Read {
    /// The region
    pub name: String,
    /// Where to begin, such as 4096 or 64KiB
    #[arg(long, value_name = "OFFSET", value_parser = size, default_value = "0", hide_default_value = true)]
    pub at: u64,
    /// How many bytes [default: all there are from there on]
    #[arg(long, value_name = "N", value_parser = size)]
    pub len: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Repair {
    /// The region
    pub name: String,
    /// Take the bytes that are there, and nothing from standard input
    #[arg(long)]
    pub keep: bool,
    /// Give up (exit code 3) when it takes so long until it can be repaired
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// The region
    pub name: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct Hold {
    /// The region
    pub name: String,
    /// One version
    #[arg(long, group = "what")]
    pub read: bool,
    /// The right to make the next one
    #[arg(long, group = "what")]
    pub write: bool,
    /// How long
    #[arg(long = "for", value_name = "DUR", value_parser = duration)]
    pub duration: Duration,
    /// The lease, at most the region's lease_max [default: that]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub lease: Option<Duration>,
}
