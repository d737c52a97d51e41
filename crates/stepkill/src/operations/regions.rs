//! Regions: making one, opening, reading, writing as a whole and in parts, waiting, fencing who is late, leaving.

use std::time::Duration;

use tubepost::{Region, Writing};

use super::{LARGE, NONE, SMALL};
use crate::regional::{PARTS, edit, options};
use crate::world::{BOX, Came, Edit, Effects, Operation, Owner, Regional, Walker, World};

const ENDS: Effects = Effects { ends: true, ..NONE };

const WHOLE: World =
    World { region: Some(Regional { held: false, edit: Edit::All, once: None }), length: 64, ..SMALL };
const READ: World =
    World { region: Some(Regional { held: false, edit: Edit::Nothing, once: None }), ..WHOLE };
const PARTLY: World = World {
    region: Some(Regional { held: false, edit: Edit::Parts, once: None }),
    length: LARGE.longest as usize,
    ..SMALL
};
const LONG: World = World { length: LARGE.longest as usize, ..READ };
const HELD: World = World { region: Some(Regional { held: true, edit: Edit::All, once: None }), ..WHOLE };
const HELD_IN_VAIN: World =
    World { region: Some(Regional { held: true, edit: Edit::Nothing, once: None }), ..WHOLE };
const NOT: World = World { owner: Owner::Nobody, ..READ };

pub const ALL: &[Operation] = &[
    Operation { name: "region-write", world: WHOLE, walk: write, effects: NONE },
    Operation { name: "region-write-first", world: WHOLE, walk: write_first, effects: NONE },
    Operation { name: "region-set", world: WHOLE, walk: set, effects: NONE },
    Operation { name: "region-write-parts", world: PARTLY, walk: write_parts, effects: NONE },
    Operation { name: "region-edit-dropped", world: LONG, walk: drop_edit, effects: NONE },
    Operation { name: "region-read", world: READ, walk: read, effects: NONE },
    Operation { name: "region-read-first", world: READ, walk: read_first, effects: NONE },
    Operation { name: "region-read-dropped", world: LONG, walk: drop_read, effects: NONE },
    Operation { name: "region-fence", world: HELD, walk: fence, effects: NONE },
    Operation { name: "region-write-in-vain", world: HELD_IN_VAIN, walk: write_in_vain, effects: NONE },
    Operation { name: "region-wait", world: READ, walk: wait, effects: NONE },
    Operation { name: "region-open", world: READ, walk: open, effects: NONE },
    Operation { name: "region-open-to-read", world: READ, walk: open_to_read, effects: NONE },
    Operation { name: "region-leave", world: READ, walk: leave, effects: NONE },
    Operation { name: "region-leave-with-guards", world: READ, walk: leave_with_guards, effects: NONE },
    Operation { name: "region-gc", world: READ, walk: gc, effects: NONE },
    Operation { name: "region-create", world: NOT, walk: create, effects: NONE },
    Operation { name: "region-own", world: NOT, walk: own, effects: ENDS },
    Operation { name: "region-remove", world: READ, walk: remove, effects: ENDS },
];

/// Longer than a lease.
pub const PATIENCE: Duration = Duration::from_millis(2000);
pub const SHORTLY: Duration = Duration::from_micros(500);

/// A handle; its guards live as long as the process.
pub fn opened(walker: &Walker) -> &'static Region<[u8]> {
    let region = options(&walker.domain).member("walker").open(BOX).expect("it exists");
    Box::leak(Box::new(region))
}

/// One that read and wrote before.
pub fn worn(walker: &Walker) -> &'static Region<[u8]> {
    let region = opened(walker);
    drop(region.read().expect("it lives"));
    drop(region.write().expect("nobody holds"));
    region
}

pub fn commit(walker: &Walker, mut writing: Writing<'_, [u8]>) -> Result<Came, tubepost::Error> {
    edit(Edit::All, walker.tag, &mut writing);
    writing.commit()?;
    Ok(Came::Done)
}

pub fn write(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| commit(walker, region.write()?));
}

pub fn write_first(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| commit(walker, region.write()?));
}

pub fn set(walker: &Walker) {
    let (region, letter) = (worn(walker), walker.letter(walker.world.length));
    walker.act(|| {
        region.set(&letter)?;
        Ok(Came::Done)
    })
}

pub fn write_parts(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| {
        let mut writing = region.write()?;
        PARTS.iter().for_each(|(from, to)| writing.range_mut(*from..*to).fill(walker.tag));
        writing.commit()?;
        Ok(Came::Done)
    })
}

fn drop_edit(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| {
        edit(Edit::Parts, walker.tag, &mut region.write()?);
        Ok(Came::Done)
    })
}

fn read(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| {
        std::mem::forget(region.read()?);
        Ok(Came::Done)
    })
}

fn read_first(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| {
        std::mem::forget(region.read()?);
        Ok(Came::Done)
    })
}

fn drop_read(walker: &Walker) {
    let region = worn(walker);
    walker.act(|| {
        drop(region.read()?);
        region.get()?;
        Ok(Came::Done)
    })
}

fn fence(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| commit(walker, region.write_timeout(PATIENCE)?));
}

fn write_in_vain(walker: &Walker) {
    let region = opened(walker);
    walker.act(|| {
        match region.write_timeout(SHORTLY) {
            Ok(writing) => drop(writing),
            Err(tubepost::Error::TimedOut) => {}
            Err(error) => return Err(error),
        }
        Ok(Came::Done)
    })
}

fn wait(walker: &Walker) {
    let region = worn(walker);
    let version = region.version().expect("it lives");
    walker.act(|| match region.wait_for_change_timeout(version, SHORTLY) {
        Ok(_) | Err(tubepost::Error::TimedOut) => Ok(Came::Done),
        Err(error) => Err(error),
    })
}

pub fn open(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(options(&walker.domain).open(BOX)?);
        Ok(Came::Done)
    })
}

fn open_to_read(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(options(&walker.domain).open_to_read(BOX)?);
        Ok(Came::Done)
    })
}

fn leave(walker: &Walker) {
    let region = options(&walker.domain).open(BOX).expect("it exists");
    drop(region.read().expect("it lives"));
    drop(region.write().expect("nobody holds"));
    walker.act(|| {
        drop(region);
        Ok(Came::Done)
    })
}

/// It holds, and has a version pinned, by guards that were forgotten.
fn leave_with_guards(walker: &Walker) {
    let region = options(&walker.domain).open(BOX).expect("it exists");
    std::mem::forget(region.read().expect("it lives"));
    std::mem::forget(region.write().expect("nobody holds"));
    walker.act(|| {
        drop(region);
        Ok(Came::Done)
    })
}

fn gc(walker: &Walker) {
    walker.act(|| {
        walker.domain.gc()?;
        Ok(Came::Done)
    })
}

fn create(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(options(&walker.domain).size(walker.world.length as u64).create(BOX)?);
        Ok(Came::Done)
    })
}

fn own(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(options(&walker.domain).size(walker.world.length as u64).own(BOX)?);
        Ok(Came::Done)
    })
}

fn remove(walker: &Walker) {
    walker.act(|| {
        walker.domain.remove(BOX)?;
        Ok(Came::Done)
    })
}
