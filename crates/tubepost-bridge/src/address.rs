//! Where things are in the network: the keys.
//!
//! ```text
//! tubepost/1/<prefix>/<host>/<bridge>/<run>/in         what is said to this bridge
//! tubepost/1/<prefix>/<host>/<bridge>/<run>/exports    a token: it is there, and exports mailboxes
//! tubepost/1/<prefix>/<host>/<bridge>/<run>/catalog    a queryable: which ones (`catalog`)
//! tubepost/1/<prefix>/<host>/<bridge>/<run>/news       what comes and goes of them
//! ```
//!
//! *bridge* is a number of the domain's, the same as long as that exists; *run* one of the bridge's process. A peer that says something of an
//! earlier run reaches nobody. The prefix has `,` where names have `/`, and is `-` if there is none.

/// The version of what is said, and of the keys.
pub(crate) const VERSION: u8 = 1;

/// A bridge as others know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) prefix: String,
    pub(crate) host: String,
    pub(crate) bridge: u128,
    pub(crate) run: u64,
}

/// A mailbox that some bridge exports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Offer {
    pub(crate) at: Address,
    /// Its id.
    pub(crate) mailbox: u128,
    /// What it is called at home.
    pub(crate) name: String,
}

/// What is at a key of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Inbox,
    Exports,
    Catalog,
    News,
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Place::Inbox => "in",
            Place::Exports => "exports",
            Place::Catalog => "catalog",
            Place::News => "news",
        }
    }

    /// The keys of all bridges where this is.
    pub(crate) fn of_all(self) -> String {
        format!("tubepost/{VERSION}/*/*/*/*/{}", self.word())
    }
}

fn is_part(text: &str) -> bool {
    !text.contains('/') && is_name(&text.replace(',', "/"))
}

/// Whether a mailbox may be called so, as far as one can tell elsewhere.
pub(crate) fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    !text.is_empty() && text.len() <= 255 && text.chars().all(fine)
}

/// What a host is called in keys.
pub(crate) fn host_in_keys(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let name: String = name.chars().map(clean).collect();
    if name.is_empty() { "host".into() } else { name }
}

impl Address {
    fn root(&self) -> String {
        let Address { prefix, host, bridge, run } = self;
        let prefix = if prefix.is_empty() { "-".to_owned() } else { prefix.replace('/', ",") };
        format!("tubepost/{VERSION}/{prefix}/{host}/{bridge:032x}/{run:016x}")
    }

    pub(crate) fn key(&self, place: Place) -> String {
        format!("{}/{}", self.root(), place.word())
    }

    /// Where it listens.
    pub(crate) fn inbox(&self) -> String {
        self.key(Place::Inbox)
    }

    /// The address of which this is the inbox.
    pub(crate) fn of_inbox(key: &str) -> Option<Address> {
        Address::of(key, Place::Inbox)
    }

    /// The bridge that has this place at this key.
    pub(crate) fn of(key: &str, place: Place) -> Option<Address> {
        Address::split(key).filter(|(_, rest)| *rest == place.word()).map(|(address, _)| address)
    }

    fn split(key: &str) -> Option<(Address, &str)> {
        let mut parts = key.splitn(7, '/');
        let mut next = || parts.next();
        if next()? != "tubepost" || next()?.parse() != Ok(VERSION) {
            return None;
        }
        let (prefix, host, bridge, run) = (next()?, next()?, next()?, next()?);
        let address = Address {
            prefix: if prefix == "-" { String::new() } else { prefix.replace(',', "/") },
            host: host.into(),
            bridge: u128::from_str_radix(bridge, 16).ok()?,
            run: u64::from_str_radix(run, 16).ok()?,
        };
        (is_part(prefix) && is_part(host)).then_some((address, next()?))
    }
}

impl Offer {
    /// What it is called everywhere else.
    pub(crate) fn called(&self) -> String {
        format!("{}{}", self.at.prefix, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(prefix: &str) -> Address {
        Address { prefix: prefix.into(), host: "oven-7.plant".into(), bridge: 7 << 100, run: 9 }
    }

    #[test]
    fn keys_and_what_they_stand_for_correspond() {
        for prefix in ["", "berlin/", "b."] {
            let at = address(prefix);
            for place in [Place::Inbox, Place::Exports, Place::Catalog, Place::News] {
                assert_eq!(Address::of(&at.key(place), place), Some(at.clone()));
                assert!(place == Place::Inbox || Address::of_inbox(&at.key(place)).is_none());
            }
            let offer = Offer { at, mailbox: 1 << 127, name: "a/b-c".into() };
            assert_eq!(offer.called(), format!("{prefix}a/b-c"));
        }
    }

    #[test]
    fn what_is_no_key_of_ours_stands_for_nothing() {
        let good = address("").key(Place::News);
        let other = good.replacen("tubepost/1", "tubepost/2", 1);
        let long = format!("{good}/**");
        let cases = [
            "",
            "tubepost",
            "tubepost/1/-/h/x/y/news",
            &other,
            &good[..good.len() - 1],
            &long,
            "a/b/c/d/e/f/g",
        ];
        for wrong in cases {
            assert_eq!(Address::of(wrong, Place::News), None, "{wrong:?}");
        }
    }

    #[test]
    fn any_host_has_a_name_in_keys() {
        assert_eq!(host_in_keys("a b/c*"), "a_b_c_");
        assert_eq!(host_in_keys(""), "host");
    }
}
