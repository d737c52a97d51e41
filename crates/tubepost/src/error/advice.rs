//! What is said where a name means nothing, or something that is not for us: who it belongs to, and what to do.

use std::fmt;
use std::path::Path;

/// Whose a thing is that could not be used, as the kernel lets anybody see it.
///
/// ```
/// let whose = tubepost::Whose { name: "jobs".into(), user: 1000, group: 100, mode: 0o640 };
/// assert!(whose.to_string().contains("user 1000"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whose {
    /// The name.
    pub name: String,
    /// The user that it belongs to.
    pub user: u32,
    /// The group that its mode speaks of.
    pub group: u32,
    /// Who may receive or read (r), and send or write (w), as permission bits; of what could not even be opened, those of its file.
    pub mode: u32,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whose { name, user, group, mode } = self;
        write!(f, "{name:?} belongs to user {user} and group {group}, with the mode {mode:04o}")
    }
}

/// Why a name is none that a process can have.
pub(crate) const LONG_FOR_A_PROCESS: &str = "the name of a process has at most 64 bytes";

/// The text of `BadName`.
pub(super) fn no_name(name: &str, why: &str) -> String {
    let most = if why == LONG_FOR_A_PROCESS { 64 } else { 255 };
    format!(
        "{name:?} is not a name: {why}; use components of letters, digits, '.', '_' and '-', separated by '/', 1 to {most} \
         bytes in all"
    )
}

/// The text of `Denied`.
pub(super) fn denied(doing: &str, path: &Path, whose: Option<&Whose>) -> String {
    let Some(whose) = whose else {
        let path = path.display();
        return format!(
            "no permission {doing} {path} (or it is mounted read-only); ask its owner, or use a domain of your own"
        );
    };
    let (name, domain) = (&whose.name, path.parent().unwrap_or(path).display());
    let why = match doing {
        "to send to" => "gives you no right to send (w)",
        "to receive from" => "gives you no right to receive (r)",
        "to read" => "gives you no right to read (r)",
        "to write" => "gives you no right to write (w), or this process opened it to read (r)",
        "to remove" => "does not matter for that: only this user, and the domain's, may",
        _ => "gives you no right to send or write (w), nor to receive or read (r)",
    };
    let ask = match doing {
        "to remove" => "ask its owner",
        "to write" => {
            "open it to write, or to read only, or ask its owner to make it with a mode, and for a group, that does"
        }
        _ => "ask its owner to make it with a mode, and for a group, that does",
    };
    format!(
        "no permission {doing} {name:?} in {domain}: {whose}, which {why}; {ask}, or use a domain of your own"
    )
}

/// The text of `NoSuchName`.
pub(super) fn absent(name: &str, domain: &Path, wanted: &str) -> String {
    let (what, do_this) = match wanted {
        "a process" => (
            "no process",
            "have it join, by `tubepost link`, `tubepost inbox`, or `Process::join` in a program",
        ),
        "a link" => ("no link", "the processes at its ends set it up when they use it"),
        "a region" => (
            "no region",
            "start its owner, or create it, by `tubepost region create`, or `Region::options` in a program",
        ),
        "a segment" => ("no segment", "start its owner, or create it, by `Segment::options` in a program"),
        _ => ("nothing", "start its owner, or create it"),
    };
    format!("{what} is called {name:?} in {}; {do_this}; `tubepost ls` shows what exists", domain.display())
}

/// The text of `WrongKind`.
pub(super) fn another_kind(name: &str, is: &str, wanted: &str) -> String {
    let do_this = match is {
        "a region" => "read and write it by `tubepost region`, or `Region` in a program; ",
        "a segment" => "open it by `Segment` in a program; ",
        _ => "",
    };
    format!("{name:?} is {is}, not {wanted}; {do_this}`tubepost ls` shows what exists")
}

/// The text of `Owned`.
pub(super) fn owned(name: &str, is: &str, owner: &str, pid: u32) -> String {
    let what = match is {
        "a mailbox" => format!("owned by process {pid} ({owner}), which alone receives from it; send to it"),
        _ => format!("{is} of process {pid} ({owner}), with which it ends; open it"),
    };
    format!(
        "{name:?} is {what}, choose another name, end that process, or take it away by `tubepost rm --force`"
    )
}

/// Who uses something, for people.
pub(super) fn names(peers: &[crate::peer::Peer]) -> String {
    let mut names: Vec<String> =
        peers.iter().map(|peer| format!("{} (process {})", peer.name, peer.pid)).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Which messages.
pub(super) fn numbers(from: u64, to: u64) -> String {
    if from == to { format!("message {from} is") } else { format!("messages {from} to {to} are") }
}
