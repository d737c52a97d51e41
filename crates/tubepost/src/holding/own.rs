//! Memory of one's own in place of a buffer, where another user's process could write to that while somebody looks at it.

use std::mem::MaybeUninit;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// So many bytes, aligned as any data is.
pub(crate) struct Own {
    lines: Vec<Line>,
    length: usize,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Own({} bytes)", self.length)
    }
}

impl Own {
    /// What `copy` writes.
    pub(super) fn of(length: usize, copy: impl FnOnce(&mut [MaybeUninit<u8>])) -> Own {
        let mut lines = vec![Line([0; 64]); length.div_ceil(64)];
        // SAFETY: the vector's own memory, long enough; it may hold anything.
        copy(unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), length) });
        Own { lines, length }
    }

    pub(super) fn start(&self) -> *const u8 {
        self.lines.as_ptr().cast()
    }

    pub(super) fn start_mut(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the vector's own memory, long enough, initialised.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }
}
