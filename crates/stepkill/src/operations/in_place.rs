//! Regions of which there is one copy: writing, leaving it half edited, repairing, copying, fencing who is late.

use tubepost::Error;

use super::regions::{PATIENCE, SHORTLY, opened, set, worn, write, write_first, write_parts};
use super::{NONE, SMALL};
use crate::letters;
use crate::regional::{edit, in_place::options};
use crate::world::{BOX, Came, Edit, Once, Operation, Owner, Regional, Walker, World};

const SOUND: Once = Once { poisoned: false, stays: false };
const SPOILS: Once = Once { poisoned: false, stays: true };

const fn world(edit: Edit, once: Once) -> World {
    World { region: Some(Regional { held: false, edit, once: Some(once) }), length: 64, ..SMALL }
}

const WRITTEN: World = world(Edit::All, SOUND);
const TOUCHED: World = world(Edit::Touch, SOUND);
const READ: World = world(Edit::Nothing, SOUND);
/// What is longer than a page is not copied on the chance that nobody comes.
const LONG: World = World { length: 10_000, ..READ };
const PARTLY: World = World { length: 10_000, ..world(Edit::Parts, SOUND) };
const HELD: World =
    World { region: Some(Regional { held: true, edit: Edit::Touch, once: Some(SPOILS) }), ..READ };

const DROPPED: World = world(Edit::All, SPOILS);
const REPAIRED: World = world(Edit::All, Once { poisoned: true, stays: false });
const POISONED: World = world(Edit::Touch, Once { poisoned: true, stays: true });
const LEFT: World = world(Edit::Touch, SPOILS);
const NOT: World = World { owner: Owner::Nobody, ..READ };

pub const ALL: &[Operation] = &[
    Operation { name: "region-in-place-write", world: WRITTEN, walk: write, effects: NONE },
    Operation { name: "region-in-place-write-first", world: WRITTEN, walk: write_first, effects: NONE },
    Operation { name: "region-in-place-set", world: WRITTEN, walk: set, effects: NONE },
    Operation { name: "region-in-place-write-parts", world: PARTLY, walk: write_parts, effects: NONE },
    Operation { name: "region-in-place-untouched", world: TOUCHED, walk: let_go, effects: NONE },
    Operation { name: "region-in-place-dropped", world: DROPPED, walk: spoil, effects: NONE },
    Operation { name: "region-in-place-repair", world: REPAIRED, walk: repair, effects: NONE },
    Operation { name: "region-in-place-poisoned", world: POISONED, walk: refused, effects: NONE },
    Operation { name: "region-in-place-read", world: LONG, walk: read, effects: NONE },
    Operation { name: "region-in-place-read-first", world: LONG, walk: read_first, effects: NONE },
    Operation { name: "region-in-place-read-quickly", world: READ, walk: read, effects: NONE },
    Operation { name: "region-in-place-read-late", world: HELD, walk: read_late, effects: NONE },
    Operation { name: "region-in-place-fence", world: HELD, walk: refused, effects: NONE },
    Operation { name: "region-in-place-in-vain", world: HELD, walk: in_vain, effects: NONE },
    Operation { name: "region-in-place-leave", world: LEFT, walk: leave, effects: NONE },
    Operation { name: "region-in-place-create", world: NOT, walk: create, effects: NONE },
];

/// Reads what another one comes to write to.
pub const COPY: Operation =
    Operation { name: "region-in-place-copy", world: PARTLY, walk: read, effects: NONE };

fn let_go(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| {
        drop(region.write()?);
        Ok(Came::Done)
    })
}

fn spoil(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| {
        edit(Edit::All, walker.tag, &mut region.write()?);
        Ok(Came::Done)
    })
}

fn repair(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| {
        region.repair_timeout(PATIENCE, |data| edit(Edit::All, walker.tag, data))?;
        Ok(Came::Done)
    })
}

/// Is told that it is poisoned.
fn refused(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| match region.write_timeout(PATIENCE) {
        Err(Error::Poisoned { .. }) => Ok(Came::Done),
        other => other.map(|_| Came::Refused("not at all".into())),
    })
}

fn got(data: &[u8]) -> Came {
    letters::read(data).map_or_else(Came::Refused, |_| Came::Done)
}

fn read(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| Ok(got(&region.read()?)))
}

fn read_first(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| Ok(got(&region.read()?)))
}

/// Lets go in the place of who is late.
fn read_late(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| match region.read_timeout(PATIENCE) {
        Err(Error::Poisoned { .. }) => Ok(Came::Done),
        other => other.map(|_| Came::Refused("not at all".into())),
    })
}

fn in_vain(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| match region.write_timeout(SHORTLY) {
        // Where each instruction is stepped through the lease may be over.
        Err(Error::TimedOut | Error::Poisoned { .. }) => Ok(Came::Done),
        other => other.map(|_| Came::Refused("not at all".into())),
    })
}

/// It holds, by a guard that was forgotten.
fn leave(walker: &Walker) {
    let region = options(&walker.domain).open(BOX).expect("it exists");
    std::mem::forget(region.write().expect("nobody holds"));
    walker.act(|| {
        drop(region);
        Ok(Came::Done)
    })
}

fn create(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(options(&walker.domain).size(walker.world.length as u64).create(BOX)?);
        Ok(Came::Done)
    })
}
