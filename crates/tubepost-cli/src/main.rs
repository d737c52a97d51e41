//! `tubepost`: mailboxes between processes, from the shell.
//!
//! `cli` defines every verb; each has a file of its own. `exit` is where errors become exit codes. Only the
//! library's public interface is used.

mod bench;
mod call;
mod cli;
mod create;
mod demo;
mod ending;
mod exit;
mod inbox;
mod job;
mod journal;
mod label;
mod letter;
mod lines;
mod link;
mod manual;
mod output;
mod quantity;
mod recv;
mod region;
mod rm;
mod run;
mod scratch;
mod second;
mod send;
mod serve;
mod show;
mod table;
mod tell;

use std::process::ExitCode;

use clap::Parser;
use tubepost::Domain;

use crate::cli::{Cli, Verb};
use crate::exit::Failure;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.code().into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let domain = || match &cli.domain {
        Some(name_or_path) => Domain::open(name_or_path),
        None => Domain::open_default(),
    };
    match &cli.verb {
        Verb::Demo => demo::run(),
        Verb::Send(args) => send::run(&domain()?, args),
        Verb::Recv(args) => recv::run(&domain()?, args),
        Verb::Call(args) => call::run(&domain()?, args),
        Verb::Serve(args) => serve::run(&domain()?, args),
        Verb::Run(args) => run::run(&domain()?, args),
        Verb::Link(args) => link::run(&domain()?, args),
        Verb::Inbox(args) => inbox::run(&domain()?, args),
        Verb::Tell(args) => tell::run(&domain()?, args),
        Verb::Create(args) => create::run(&domain()?, args),
        Verb::Region(verb) => region::run(&domain()?, verb),
        Verb::Journal(verb) => journal::run(&domain()?, verb),
        Verb::Rm { name, force } => rm::run(&domain()?, name, *force),
        Verb::Ls { json } => show::ls(&domain()?, *json),
        Verb::Stat { name, json } => show::stat(&domain()?, name, *json),
        Verb::Gc => show::gc(&domain()?),
        Verb::Bench { what, quick, json } => bench::run(what, *quick, *json),
        Verb::Completions { shell } => manual::completions(*shell),
        Verb::Man { directory } => manual::man(directory.as_deref()),
        Verb::BenchFar { directory, parent } => bench::far(directory, *parent),
        Verb::DemoPart { part, directory, parent } => demo::play(*part, directory, *parent),
    }
}
