//! From the bytes of a message, where a queue keeps them, to a value of the receiver's own.
//!
//! A queue lends its message as a [`Payload`], which is copied out; a reference into memory
//! that another process may write would be undefined behaviour. Each way out is one plain copy:
//! nothing is zeroed before, and only a `Vec` allocates, once.
//!
//! # Safety
//!
//! The functions hand uninitialised memory to `copy_to` and rely on its promise to initialise all of
//! it. What the bytes then mean needs no trust: any bytes are a `Plain` value and a `Vec<u8>`.

#![allow(unsafe_code)]

use super::plain::Plain;
use std::mem::MaybeUninit;

/// Why the bytes in the queue did not become a message.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The buffer has room for fewer bytes; nothing was copied.
    TooShort {
        /// The message's bytes.
        length: usize,
        /// The buffer's.
        room: usize,
    },
    /// Not UTF-8; a `String` to receive into is left empty.
    NotText,
    /// Not an encoding of the type.
    NotDecodable {
        /// The message's bytes.
        length: usize,
        /// What is wrong with them.
        why: &'static str,
    },
    /// Not the length of the plain type: the shared memory was damaged. Nothing was copied.
    WrongLength {
        /// The message's bytes.
        length: usize,
        /// The type's.
        expected: usize,
    },
}

/// The bytes of one message, still in the queue.
///
/// # Safety
///
/// `copy_to` initialises every byte of `dst` when it returns, and never makes a byte uninitialised.
#[expect(clippy::len_without_is_empty, reason = "a length to copy, not a collection")]
pub unsafe trait Payload {
    /// How many bytes the message has; the queue has checked it against its own limit.
    fn len(&self) -> usize;

    /// Copies the first `dst.len()` bytes of the message, which are not more than `len()`: the
    /// callers here see to it, and an implementor may panic otherwise.
    fn copy_to(&self, dst: &mut [MaybeUninit<u8>]);
}

// SAFETY: `copy_from_slice` writes all of `dst`, from initialised bytes.
unsafe impl Payload for [u8] {
    #[inline]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    #[inline]
    fn copy_to(&self, dst: &mut [MaybeUninit<u8>]) {
        // SAFETY: initialised bytes are also bytes that need not be initialised, of the same layout.
        let bytes = unsafe { &*(&raw const *self as *const [MaybeUninit<u8>]) };
        dst.copy_from_slice(&bytes[..dst.len()]);
    }
}

/// The first bytes of a payload.
pub(crate) struct Front<'a, P: ?Sized> {
    of: &'a P,
    length: usize,
}

impl<'a, P: Payload + ?Sized> Front<'a, P> {
    /// The first `length` bytes, which are there.
    #[inline]
    pub(crate) fn new(of: &'a P, length: usize) -> Front<'a, P> {
        assert!(length <= of.len());
        Front { of, length }
    }
}

// SAFETY: the payload that it is the front of initialises all of `dst`.
unsafe impl<P: Payload + ?Sized> Payload for Front<'_, P> {
    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn copy_to(&self, dst: &mut [MaybeUninit<u8>]) {
        assert!(dst.len() <= self.length);
        self.of.copy_to(dst);
    }
}

/// The value whose bytes the message is; nothing if it has another length.
#[inline]
pub(crate) fn value<T: Plain>(payload: &(impl Payload + ?Sized)) -> Option<T> {
    if payload.len() != size_of::<T>() {
        return None;
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the memory of `value`, all of it and only it; it may be uninitialised on both sides.
    let bytes = unsafe { std::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<T>()) };
    payload.copy_to(bytes);
    // SAFETY: `copy_to` initialised every byte, and any bytes are a value of a plain type.
    Some(unsafe { value.assume_init() })
}

/// The same in a box, without a way over the stack, however large it is.
#[inline]
pub(crate) fn boxed<T: Plain>(payload: &(impl Payload + ?Sized)) -> Option<Box<T>> {
    if payload.len() != size_of::<T>() {
        return None;
    }
    let mut value = Box::<T>::new_uninit();
    // SAFETY: the memory of the box, all of it and only it; it may be uninitialised on both sides.
    let bytes = unsafe { std::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<T>()) };
    payload.copy_to(bytes);
    // SAFETY: `copy_to` initialised every byte, and any bytes are a value of a plain type.
    Some(unsafe { value.assume_init() })
}

/// Overwrites a value in place; leaves it alone and says no if the message has another length.
#[inline]
pub(crate) fn overwrite<T: Plain>(payload: &(impl Payload + ?Sized), value: &mut T) -> bool {
    if payload.len() != size_of::<T>() {
        return false;
    }
    // SAFETY: the memory of `value`, borrowed mutably; `copy_to` leaves initialised bytes only, and
    // any bytes are a value of a plain type.
    payload.copy_to(unsafe { std::slice::from_raw_parts_mut((&raw mut *value).cast(), size_of::<T>()) });
    true
}

/// Copies the message to the start of `room`; leaves that alone and says no if it is too short.
#[inline]
pub(crate) fn fill(payload: &(impl Payload + ?Sized), room: &mut [u8]) -> bool {
    let Some(dst) = room.get_mut(..payload.len()) else {
        return false;
    };
    // SAFETY: bytes of the same layout, borrowed mutably; `copy_to` leaves initialised bytes only.
    payload.copy_to(unsafe { &mut *(&raw mut *dst as *mut [MaybeUninit<u8>]) });
    true
}

/// Does something with a copy of the message, which lies on the stack if it is short.
#[inline]
pub(crate) fn with_copy<R>(payload: &(impl Payload + ?Sized), act: impl FnOnce(&[u8]) -> R) -> R {
    const SHORT: usize = 256;
    let len = payload.len();
    if len > SHORT {
        let mut bytes = Vec::new();
        replace(payload, &mut bytes);
        return act(&bytes);
    }
    let mut room = [MaybeUninit::uninit(); SHORT];
    let bytes = &mut room[..len];
    payload.copy_to(bytes);
    // SAFETY: `copy_to` initialised every byte of it.
    act(unsafe { &*(&raw const *bytes as *const [u8]) })
}

/// Replaces what the vector holds by the message; allocates only if its capacity is too small.
#[inline]
pub(crate) fn replace(payload: &(impl Payload + ?Sized), bytes: &mut Vec<u8>) {
    let len = payload.len();
    bytes.clear();
    bytes.reserve_exact(len);
    payload.copy_to(&mut bytes.spare_capacity_mut()[..len]);
    // SAFETY: `copy_to` initialised the first `len` bytes of the spare capacity of an empty vector.
    unsafe { bytes.set_len(len) };
}
