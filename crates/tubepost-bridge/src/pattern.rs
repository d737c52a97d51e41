//! Which names are meant: `*` is any run of characters, `?` any one.

/// A pattern for the names of mailboxes.
///
/// ```
/// use tubepost_bridge::Pattern;
///
/// let sensors = Pattern::new("plant/*.temp?")?;
/// assert!(sensors.matches("plant/oven.temp1"));
/// assert!(!sensors.matches("plant/oven.temp"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern of letters, digits, `.`, `_`, `-` and `/`, as names are, with `*` and `?`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-/*?".contains(c);
        match text.chars().find(|c| !fine(*c)) {
            _ if text.is_empty() => {
                Err("an empty pattern matches no name; use * for all mailboxes".to_owned())
            }
            Some(c) => Err(format!(
                "{c:?} is in no name; use letters, digits, '.', '_', '-' and '/', with * for any run of characters and ? for one"
            )),
            None => Ok(Pattern(text.to_owned())),
        }
    }

    /// Whether it matches all of a name.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut star = None; // the last `*`, and how far it reaches
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == b'?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    Some((at, reach)) => {
                        star = Some((at, reach + 1));
                        p = at + 1;
                        n = reach + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        Pattern::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_reach_as_far_as_they_must() {
        let yes =
            [("*", "a"), ("*", "a/b"), ("a*c", "abcbc"), ("a*b*c", "aXbYbc"), ("??", "ab"), ("a**", "a")];
        let no = [("a", "ab"), ("ab", "a"), ("?", ""), ("a*c", "acb"), ("*x", "xy"), ("a?", "a")];
        for (pattern, name) in yes {
            assert!(Pattern::new(pattern).unwrap().matches(name), "{pattern} {name}");
        }
        for (pattern, name) in no {
            assert!(!Pattern::new(pattern).unwrap().matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_in_no_name_is_refused() {
        for wrong in ["", "a b", "a,b", "a#", "ä"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
