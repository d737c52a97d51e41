//! The ends of a pair that share memory.

use super::Attachment;
use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::domain::segment::Segment;
use crate::queue::layout::{OWNER, SENDER};
use std::time::Duration;

pub(crate) fn ends(there: Segment, back: Segment, spin: Duration) -> (Outlet, Inlet) {
    let outlet = Outlet::of_link(Attachment::new(there, SENDER, spin));
    let inlet = Inlet::of_link(Attachment::new(back, OWNER, spin));
    inlet.at.tells(&outlet.at);
    (outlet, inlet)
}
