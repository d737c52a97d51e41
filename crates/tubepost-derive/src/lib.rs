//! `#[derive(Message)]` for [tubepost](https://docs.rs/tubepost): a struct of fixed length, checked
//! at compile time to be plain data.
//!
//! Use it through the `tubepost` crate, which re-exports it beside the trait of the same name.
//! What it generates names everything by absolute path, so a user imports `tubepost::Message` and
//! nothing else; the one `unsafe impl` carries the macro's span, which is why it is welcome in a
//! crate with `#![forbid(unsafe_code)]`: the proofs beside it are the macro's, not the user's.

mod expand;
mod refuse;

use proc_macro::TokenStream;

/// Makes a struct a message of fixed length, sent and received by value.
///
/// The struct is `Copy` and `#[repr(C)]` (or `#[repr(transparent)]`), has no generics and no
/// padding, at most 1 MiB and an alignment of at most 64, and each field is plain data: `u8`
/// to `u128`, `i8` to `i128`, `f32`, `f64`, `()`, arrays of plain data, structs that derive
/// `Message`. Anything else is a compile error that says what is wrong and what to do.
///
/// ```
/// use tubepost::Message;
///
/// #[derive(Message, Clone, Copy)]
/// #[repr(C)]
/// struct Reading {
///     sensor: u32,
///     celsius: f32,
/// }
///
/// #[derive(Message, Clone, Copy)]
/// #[repr(C)]
/// struct Stamped {
///     taken: u64,
///     reading: Reading,
///     source: u32,
///     _reserved: u32, // would be padding; as a field it has a value
/// }
///
/// assert_eq!(tubepost::Format::of::<Reading>().to_string(), "Reading { sensor: u32 @0, celsius: f32 @4 } (8 bytes, align 4)");
/// ```
#[proc_macro_derive(Message)]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    refuse::unless_plain_struct(&input)
        .map(|plain| expand::message(&plain))
        .unwrap_or_else(|why| why.to_compile_error())
        .into()
}
