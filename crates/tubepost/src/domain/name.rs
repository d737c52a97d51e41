//! What a thing may be called, and the file it is called so in.

use crate::error::Error;
use std::fmt;

/// The most bytes in a name.
pub(crate) const MAX_NAME: usize = 255;

/// A checked name: components of letters, digits, `.`, `_` and `-`, separated by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: &str) -> Result<Name, Error> {
        let wrong = |why| Err(Error::BadName { name: name.chars().take(300).collect(), why });
        if name.is_empty() {
            return wrong("it is empty");
        }
        if name.len() > MAX_NAME {
            return wrong("it is longer than 255 bytes");
        }
        for component in name.split('/') {
            match component {
                "" => return wrong("it has an empty component"),
                "." | ".." => return wrong("\".\" and \"..\" cannot be components"),
                _ => {}
            }
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if !name.chars().all(fine) {
            return wrong("it has a character that is not allowed");
        }
        Ok(Name(name.into()))
    }

    /// The file's name: a domain is one flat directory, so that `a` and `a/b` can coexist.
    pub(crate) fn file(&self) -> String {
        self.0.replace('/', ",")
    }

    /// The name that a file of the domain stands for, if it does.
    pub(crate) fn of_file(file: &str) -> Option<Name> {
        (!file.contains('/')).then(|| file.replace(',', "/")).and_then(|name| Name::new(&name).ok())
    }

    /// What a pair is called, for people: nothing can be found by it.
    pub(crate) fn of_pair(called: &str) -> Name {
        Name(called.into())
    }

    /// The direction of the link from one process to another; `tag` tells their lives apart from earlier ones.
    /// No mailbox can be called so.
    pub(crate) fn of_link(from: &Name, to: &Name, tag: &str) -> Name {
        Name(format!("{from}~{to}~{tag}"))
    }

    /// The link that a file of the domain stands for, if it does.
    pub(crate) fn of_link_file(file: &str) -> Option<Name> {
        let name = Name((!file.contains('/')).then(|| file.replace(',', "/"))?);
        name.link().map(drop)?;
        Some(name)
    }

    /// Whether a link may be called so, as people know it.
    pub(crate) fn may_be_of_link(name: &str) -> bool {
        let ends = name.split_once('~');
        ends.is_some_and(|(from, to)| Name::new(from).is_ok() && Name::new(to).is_ok())
    }

    /// From whom, to whom, and the tag, if it is of a link.
    pub(crate) fn link(&self) -> Option<(Name, Name, &str)> {
        let mut parts = self.0.split('~');
        let (from, to, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && !tag.is_empty();
        whole.then(|| Some((Name::new(from).ok()?, Name::new(to).ok()?, tag)))?
    }

    /// As people know it.
    pub(crate) fn as_str(&self) -> &str {
        match self.0.match_indices('~').nth(1) {
            Some((end, _)) => &self.0[..end],
            None => &self.0,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_correspond() {
        for name in ["a", "a/b", "x..y", ".hidden", "-", "A_1/b.c/d-e", &"n".repeat(255)] {
            let checked = Name::new(name).unwrap();
            assert_eq!(Name::of_file(&checked.file()), Some(checked.clone()));
            assert!(checked.file().len() <= 255 && !checked.file().contains('/'));
        }
        for name in
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a b", "a\0", "ä", "a,b", &"n".repeat(256)]
        {
            assert!(matches!(Name::new(name), Err(Error::BadName { .. })), "{name:?}");
        }
        assert_eq!(Name::of_file("a,,b"), None);
    }
}
