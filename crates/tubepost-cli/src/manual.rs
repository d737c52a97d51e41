//! `tubepost completions` and `tubepost man`: made from the same definitions as `--help`.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Failure;
use crate::output::print;

pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut public(), "tubepost", &mut text);
    print(text)
}

pub fn man(directory: Option<&Path>) -> Result<(), Failure> {
    let Some(directory) = directory else {
        let mut text = Vec::new();
        clap_mangen::Man::new(public()).render(&mut text)?;
        return print(text);
    };
    let trouble =
        |e| Failure::failed(format!("{}: {e}; name a directory that can be written to", directory.display()));
    std::fs::create_dir_all(directory).map_err(trouble)?;
    clap_mangen::generate_to(public(), directory).map_err(trouble)
}

/// The command as its users see it: without the verbs it only uses on itself.
fn public() -> clap::Command {
    let whole = Cli::command();
    let verbs: Vec<_> = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let options: Vec<_> = whole.get_arguments().cloned().collect();
    let mut public = clap::Command::new("tubepost").version(env!("CARGO_PKG_VERSION"));
    public = public.args(options).subcommands(verbs).subcommand_required(true);
    if let Some(about) = whole.get_about() {
        public = public.about(about.clone());
    }
    if let Some(examples) = whole.get_after_help() {
        public = public.after_help(examples.clone());
    }
    public
}
