//! Where things are in the network: the keys.
//!
//! ```text
//! tubepost/1/<prefix>/<host>/<bridge>/<run>/in                     what is said to this bridge
//! tubepost/1/<prefix>/<host>/<bridge>/<run>/m/<mailbox>/<name>     a mailbox that it exports: a token, and a queryable that describes it
//! ```
//!
//! *bridge* is a number of the domain's, the same as long as that exists; *run* one of the bridge's process. A peer that says something of an
//! earlier run reaches nobody. Names have `,` where the domain's have `/`; the prefix is `-` if there is none.

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

/// All mailboxes that are exported by anybody.
pub(crate) fn all_offers() -> String {
    format!("tubepost/{VERSION}/*/*/*/*/m/*/*")
}

fn is_part(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-,".contains(c);
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

    /// Where it listens.
    pub(crate) fn inbox(&self) -> String {
        format!("{}/in", self.root())
    }

    /// The address of which this is the inbox.
    pub(crate) fn of_inbox(key: &str) -> Option<Address> {
        Address::split(key).filter(|(_, rest)| *rest == "in").map(|(address, _)| address)
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
    pub(crate) fn key(&self) -> String {
        format!("{}/m/{:032x}/{}", self.at.root(), self.mailbox, self.name.replace('/', ","))
    }

    pub(crate) fn parse(key: &str) -> Option<Offer> {
        let (at, rest) = Address::split(key)?;
        let (mailbox, name) = rest.strip_prefix("m/")?.split_once('/')?;
        let mailbox = u128::from_str_radix(mailbox, 16).ok()?;
        is_part(name).then(|| Offer { at, mailbox, name: name.replace(',', "/") })
    }

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
            let offer = Offer { at: address(prefix), mailbox: 1 << 127, name: "a/b-c".into() };
            assert_eq!(Offer::parse(&offer.key()), Some(offer.clone()));
            assert_eq!(offer.called(), format!("{prefix}a/b-c"));
            assert_eq!(Address::of_inbox(&offer.at.inbox()), Some(offer.at));
        }
    }

    #[test]
    fn what_is_no_key_of_ours_stands_for_nothing() {
        let good = Offer { at: address(""), mailbox: 1, name: "a".into() }.key();
        let other = good.replacen("tubepost/1", "tubepost/2", 1);
        let cases =
            ["", "tubepost", "tubepost/1/-/h/x/y/m/1/a", &other, &good[..good.len() - 2], "a/b/c/d/e/f/g"];
        for wrong in cases {
            assert_eq!(Offer::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(Address::of_inbox(&good), None);
        assert_eq!(Address::of_inbox(&format!("{}/**", address("").inbox())), None);
    }

    #[test]
    fn any_host_has_a_name_in_keys() {
        assert_eq!(host_in_keys("a b/c*"), "a_b_c_");
        assert_eq!(host_in_keys(""), "host");
    }
}
