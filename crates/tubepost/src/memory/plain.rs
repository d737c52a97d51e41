//! Which types may stand in shared memory: those for which any bytes at all are a value.
//!
//! Another process writes the memory, perhaps one with a fault, so nothing about the bytes can be
//! relied upon (a `bool` of 2 would be undefined behaviour here); and addresses mean nothing there.
//! Everything else follows: no enums, no pointers, no padding (its bytes have no value, reading them
//! to copy them is undefined behaviour too).
//!
//! `usize` and `isize` are not plain: a 32-bit and a 64-bit process may share a mailbox, and their
//! widths differ. A message says `u64`.
//!
//! # Safety
//!
//! The trait is unsafe because `payload` builds values from whatever bytes arrive, and `bytes_of`
//! reads every byte of a value. The derive proves its part of the promise at compile time.

#![allow(unsafe_code)]

use super::shape::Shape;

/// The most bytes that a message of fixed length has.
pub const SIZE_MAX: usize = 1 << 20;
/// The largest alignment of a message: slots start on a cache line.
pub const ALIGN_MAX: usize = 64;

/// Fixed-length data that any process can read: every bit pattern is a value, no byte is padding.
///
/// Numbers, `()` and arrays are plain; a struct becomes plain by
/// [`#[derive(Message)]`](derive@crate::Message). `bool`, `char`, enums, references, `String` and
/// `Vec` are not, nor are `usize` and `isize`, whose width differs between processes.
///
/// ```
/// use tubepost::{Message, Plain};
///
/// #[derive(Message, Clone, Copy)]
/// #[repr(C)]
/// struct Reading {
///     sensor: u32,
///     celsius: f32,
/// }
///
/// fn size_on_the_wire<T: Plain>() -> usize {
///     size_of::<T>()
/// }
/// assert_eq!(size_on_the_wire::<[Reading; 4]>(), 32);
/// ```
///
/// # Safety
///
/// Not for implementing by hand: derive it. The promises are that any initialised bytes form a valid
/// value, that the type has no padding, and that no part of it is a pointer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not plain data, so it can't be in a message of fixed length",
    label = "not plain data",
    note = "plain are u8 to u128, i8 to i128, f32, f64, (), arrays of plain data, and `#[repr(C)]` structs of plain data with `#[derive(Message, Clone, Copy)]`",
    note = "bool, char, enums, Option and NonZero are not, since not every bit pattern is a valid value: use an integer, u8 for a bool",
    note = "references, pointers, Box, String and Vec are not, since an address means nothing in another process: use an array, or a mailbox of `[u8]` or `str`",
    note = "usize and isize are not, since their width differs between processes: use u64 or i64"
)]
pub unsafe trait Plain: Copy + Send + Sync + 'static {
    /// The layout, for the format agreement.
    #[doc(hidden)]
    const SHAPE: Shape;
}

macro_rules! plain_scalars {
    ($($scalar:ty),*) => {$(
        // SAFETY: a number (or nothing): every bit pattern is a value, there is no padding, no pointer.
        #[diagnostic::do_not_recommend]
        unsafe impl Plain for $scalar {
            const SHAPE: Shape = Shape::Scalar(stringify!($scalar));
        }
    )*};
}

plain_scalars!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, ());

// SAFETY: elements follow one another without a gap, and each is plain.
unsafe impl<P: Plain, const N: usize> Plain for [P; N] {
    const SHAPE: Shape = Shape::Array { element: &P::SHAPE, len: N };
}

/// The bytes of a value.
#[inline]
pub(crate) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a plain type has no padding, so each of its bytes is initialised; it has no interior
    // mutability (it is Copy), so the bytes don't change while they are borrowed.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }
}

/// The value that these bytes are, where they are; nothing if they are too few, too many, or not aligned.
#[inline]
pub(crate) fn value_in<T: Plain>(bytes: &[u8]) -> Option<&T> {
    let at = bytes.as_ptr().cast::<T>();
    // SAFETY: as many bytes as a value has, aligned, and any bytes are one.
    (bytes.len() == size_of::<T>() && at.is_aligned()).then(|| unsafe { &*at })
}

/// The same, to be written.
#[inline]
pub(crate) fn value_in_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut T> {
    let at = bytes.as_mut_ptr().cast::<T>();
    // SAFETY: as above; borrowed mutably, and each value leaves initialised bytes.
    (bytes.len() == size_of::<T>() && at.is_aligned()).then(|| unsafe { &mut *at })
}

/// A value of zeros in memory of its own, however large.
pub(crate) fn zeroed<T: Plain>() -> Box<T> {
    let mut value = Box::<T>::new_uninit();
    // SAFETY: all of the box's memory, and zeros are a value of a plain type, as any bytes are.
    unsafe {
        value.as_mut_ptr().write_bytes(0, 1);
        value.assume_init()
    }
}

/// `Copy`, said in the derive's words: a supertrait's own error would not tell what to add.
#[diagnostic::on_unimplemented(
    message = "`{Self}` derives Message, so it must be `Copy`: a message is sent and received by value",
    label = "not `Copy`: write `#[derive(Message, Clone, Copy)]`"
)]
pub trait MessageIsCopy {}

#[diagnostic::do_not_recommend]
impl<T: Copy> MessageIsCopy for T {}

/// Called by what the derive generates.
pub const fn must_be_copy<T: MessageIsCopy>() {}
