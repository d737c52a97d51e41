//! Making a stand-in: a mailbox of the system like the one that it stands for.

use crate::facts::Facts;
use crate::spool::{Origin, Spool};
use tubepost::{Call, Domain, Format, Id, Mailbox, Message, Opaque, Options};

/// What is to be made.
pub(crate) struct Making<'a> {
    pub(crate) domain: &'a Domain,
    pub(crate) name: &'a str,
    /// Where the mailbox is.
    pub(crate) host: &'a str,
    pub(crate) facts: &'a Facts,
    pub(crate) spool: Option<&'a Spool>,
}

impl Making<'_> {
    /// Makes it, or opens it in the spool: there it may be from before.
    pub(crate) fn make(&self, bridge: u128, mailbox: u128) -> Result<Id, String> {
        let format = self.facts.agreed()?;
        if format.answer().is_some() {
            let options = Mailbox::<Call<Opaque, Opaque>>::options().carrying(format.clone());
            return self.chosen(options, &format).create(self.name).map_err(|error| error.to_string());
        }
        let options = self.chosen(Mailbox::<Opaque>::options().carrying(format.clone()), &format);
        let options = match self.spool.filter(|_| self.facts.capacity != Some(0)) {
            None => options,
            Some(spool) => {
                let origin = Origin {
                    name: self.name.into(),
                    host: self.host.into(),
                    bridge,
                    mailbox,
                    facts: self.facts.clone(),
                };
                spool.note(&origin).map_err(|error| format!("the spool can't be written: {error}"))?;
                options.unbounded().strategy(spool.file(self.name))
            }
        };
        options.create(self.name).map_err(|error| error.to_string())
    }

    fn chosen<M: Message + ?Sized>(&self, options: Options<M>, format: &Format) -> Options<M> {
        let place: String = self.host.chars().filter(|c| !c.is_control()).take(64).collect();
        let options = options.domain(self.domain).mode(self.facts.mode()).member("bridge").stands_for(place);
        let options = match self.facts.capacity {
            Some(capacity) => options.bounded(capacity),
            None => options.unbounded(),
        };
        if format.is_variable() { options.max_message(self.facts.max_message) } else { options }
    }
}
