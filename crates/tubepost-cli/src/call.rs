//! `tubepost call`: each argument, or each line of standard input, is a question; prints the answers.

use std::io::{BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;

use tubepost::{Domain, Sender};

use crate::cli::Call;
use crate::ending::Ending;
use crate::exit::Failure;
use crate::label;
use crate::output;

type Questions = tubepost::Call<[u8], [u8]>;

pub fn run(domain: &Domain, args: &Call) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let label = label::of_questions(domain, &args.name)?;
    let sender = Sender::<Questions>::options().domain(domain).format(label).open(&args.name)?;
    // A caller leaves nothing behind: whatever moment it ends at, the others put its cell away.
    ending.watch(false, |reason| std::process::exit(reason.code().into()));
    call_all(&sender, args).map_err(|failure| failure.about(&args.name))
}

fn call_all(sender: &Sender<Questions>, args: &Call) -> Result<(), Failure> {
    let mut out = output::buffered()?;
    let mut ask = |question: &[u8]| -> Result<(), Failure> {
        let answer = match args.timeout {
            Some(timeout) => sender.call_timeout(question, timeout)?,
            None => sender.call(question)?,
        };
        out.write_all(&answer)?;
        // An answer that is the output of a command ends with a newline already.
        if answer.last() != Some(&b'\n') {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    };
    if !args.text.is_empty() {
        return args.text.iter().try_for_each(|text| ask(text.as_bytes()));
    }
    let longest = sender.stat()?.max_message;
    let mut input = output::input()?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input).take(longest.saturating_add(1)).read_until(b'\n', &mut line);
        let read = read.map_err(|e| Failure::failed(format!("standard input: {e}")))?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 > longest && line.last() != Some(&b'\n') {
            return Err(Failure::too_long(format_args!("a question of {read} or more bytes"), longest));
        }
        ask(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}
