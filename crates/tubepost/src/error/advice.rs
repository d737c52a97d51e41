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
    /// Who may receive (r) and send (w), as permission bits; of what could not even be opened, those of its file.
    pub mode: u32,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whose { name, user, group, mode } = self;
        write!(f, "{name:?} belongs to user {user} and group {group}, with the mode {mode:04o}")
    }
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
        "to write" => "gives you no right to write (w), or this process opened it to read",
        "to remove" => "does not matter for that: only this user, and the domain's, may",
        _ => "gives you no right to send (w) or to receive (r)",
    };
    let ask = match doing {
        "to remove" => "ask its owner",
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
        _ => ("nothing", "start its owner, or create it"),
    };
    format!("{what} is called {name:?} in {}; {do_this}; `tubepost ls` shows what exists", domain.display())
}

/// Who uses something, for people.
pub(super) fn names(peers: &[crate::peer::Peer]) -> String {
    let mut names: Vec<String> =
        peers.iter().map(|peer| format!("{} (process {})", peer.name, peer.pid)).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
