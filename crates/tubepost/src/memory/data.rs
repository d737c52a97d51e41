//! What a region holds: data that is looked at where it lies.

#![allow(unsafe_code)]

use super::plain::{ALIGN_MAX, Plain};
use crate::format::Format;
use std::mem::MaybeUninit;

/// Data that a region can hold: any plain type, or `[u8]`, of which the region says how many.
///
/// ```
/// use tubepost::{Data, Message};
///
/// #[derive(Message, Clone, Copy)]
/// #[repr(C)]
/// struct Pose {
///     at: [f64; 3],
///     facing: [f64; 4],
/// }
///
/// fn can_be_shared<D: Data + ?Sized>() {}
/// can_be_shared::<Pose>();
/// can_be_shared::<[u8]>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the data of a region",
    note = "a region holds plain data (a number, an array, a `#[repr(C)]` struct with `#[derive(Message, Clone, Copy)]`), or `[u8]`"
)]
pub trait Data: sealed::Sealed + 'static {
    /// A copy of it.
    type Owned: Send + 'static;

    /// Size and alignment; `None` if the region says how many bytes there are.
    #[doc(hidden)]
    const FIXED: Option<(usize, usize)>;

    /// What it is, with the label that the user declared, if any; an error says why that can't be.
    #[doc(hidden)]
    fn format(label: Option<&str>) -> Result<Format, String>;

    /// The data in these bytes, where they are.
    ///
    /// # Safety
    ///
    /// There are so many bytes, aligned as it has to be, and nobody writes there meanwhile.
    #[doc(hidden)]
    unsafe fn at<'a>(bytes: *const u8, length: usize) -> &'a Self;

    /// The same to be edited.
    ///
    /// # Safety
    ///
    /// As for `at`, and nobody reads there either.
    #[doc(hidden)]
    unsafe fn at_mut<'a>(bytes: *mut u8, length: usize) -> &'a mut Self;

    /// Its bytes.
    #[doc(hidden)]
    fn as_data(&self) -> &[u8];

    /// A copy, of as many bytes as there are, which `copy` writes, all of them.
    #[doc(hidden)]
    fn owned(length: usize, copy: impl FnOnce(&mut [MaybeUninit<u8>])) -> Self::Owned;
}

mod sealed {
    pub trait Sealed {}
    impl<T: super::Plain> Sealed for T {}
    impl Sealed for [u8] {}
}

impl<T: Plain> Data for T {
    type Owned = T;

    const FIXED: Option<(usize, usize)> = {
        assert!(align_of::<T>() <= ALIGN_MAX, "the data of a region has an alignment of at most 64");
        assert!(size_of::<T>() > 0, "a region needs data of at least one byte");
        Some((size_of::<T>(), align_of::<T>()))
    };

    fn format(label: Option<&str>) -> Result<Format, String> {
        match label {
            None => Ok(Format::plain::<T>()),
            Some(_) => Err(format!(
                "a label is for data of `[u8]`; this region's type describes itself: {}",
                Format::plain::<T>()
            )),
        }
    }

    #[inline(always)]
    unsafe fn at<'a>(bytes: *const u8, length: usize) -> &'a T {
        assert!(length == size_of::<T>() && bytes.addr().is_multiple_of(align_of::<T>()));
        // SAFETY: as just asserted, and as the caller says; any bytes are a value of a plain type.
        unsafe { &*bytes.cast() }
    }

    #[inline(always)]
    unsafe fn at_mut<'a>(bytes: *mut u8, length: usize) -> &'a mut T {
        assert!(length == size_of::<T>() && bytes.addr().is_multiple_of(align_of::<T>()));
        // SAFETY: as above.
        unsafe { &mut *bytes.cast() }
    }

    fn as_data(&self) -> &[u8] {
        // SAFETY: a plain type has no padding, so all of its bytes are initialised.
        unsafe { std::slice::from_raw_parts((&raw const *self).cast(), size_of::<T>()) }
    }

    #[inline(always)]
    fn owned(length: usize, copy: impl FnOnce(&mut [MaybeUninit<u8>])) -> T {
        assert!(length == size_of::<T>());
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: all of the value's bytes, which may be uninitialised on both sides.
        copy(unsafe { std::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), length) });
        // SAFETY: `copy` wrote all of them; any bytes are a value of a plain type.
        unsafe { value.assume_init() }
    }
}

impl Data for [u8] {
    type Owned = Vec<u8>;

    const FIXED: Option<(usize, usize)> = None;

    fn format(label: Option<&str>) -> Result<Format, String> {
        Format::labelled(label.unwrap_or_default())
    }

    #[inline(always)]
    unsafe fn at<'a>(bytes: *const u8, length: usize) -> &'a [u8] {
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts(bytes, length) }
    }

    #[inline(always)]
    unsafe fn at_mut<'a>(bytes: *mut u8, length: usize) -> &'a mut [u8] {
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts_mut(bytes, length) }
    }

    fn as_data(&self) -> &[u8] {
        self
    }

    fn owned(length: usize, copy: impl FnOnce(&mut [MaybeUninit<u8>])) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        copy(&mut bytes.spare_capacity_mut()[..length]);
        // SAFETY: `copy` wrote so many of them.
        unsafe { bytes.set_len(length) };
        bytes
    }
}
