//! What the syntax alone can tell: enums, unions, generics and a missing `repr` are refused here,
//! each with the reason and the way out. What needs types (padding, size, the fields' own
//! plainness) is asserted by the code that `expand` generates.

use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

/// A struct whose syntax allows plain data.
pub(crate) struct PlainStruct<'a> {
    pub ident: &'a Ident,
    pub fields: &'a Fields,
    /// `repr(transparent)`: the order of its zero-sized fields is not fixed.
    pub transparent: bool,
}

pub(crate) fn unless_plain_struct(input: &DeriveInput) -> Result<PlainStruct<'_>> {
    let ident = &input.ident;
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(_) => {
            return Err(Error::new_spanned(
                ident,
                format!(
                    "enum `{ident}` can't be a message: not every bit pattern is one of its variants, and another \
                     process may write any. Put an integer into a struct and convert it with `TryFrom` on receipt"
                ),
            ));
        }
        Data::Union(_) => {
            return Err(Error::new_spanned(
                ident,
                format!(
                    "union `{ident}` can't be a message: nothing says which of its fields was written, so some of \
                     its bytes may be uninitialised. Use a struct with a `[u8; N]` field and `from_ne_bytes`"
                ),
            ));
        }
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            format!(
                "`{ident}` can't be a message while it has generic parameters: its size and fields must be known \
                 where it is defined, and a borrow means nothing in another process. Write a struct for each type"
            ),
        ));
    }
    let transparent = match repr(input)? {
        Some(Repr::C) => false,
        Some(Repr::Transparent) => true,
        None => {
            return Err(Error::new_spanned(
                ident,
                format!(
                    "`{ident}` needs `#[repr(C)]` (or `#[repr(transparent)]`) to be a message: without it the \
                     compiler may order the fields differently in each build, and processes would not agree"
                ),
            ));
        }
    };
    Ok(PlainStruct { ident, fields, transparent })
}

enum Repr {
    C,
    Transparent,
}

/// The representation that fixes the layout; `align` and `packed` only modify it.
fn repr(input: &DeriveInput) -> Result<Option<Repr>> {
    let mut found = None;
    for attr in input.attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("C") {
                found = Some(Repr::C);
            } else if meta.path.is_ident("transparent") {
                found = Some(Repr::Transparent);
            } else if meta.input.peek(syn::token::Paren) {
                let amount;
                syn::parenthesized!(amount in meta.input);
                amount.parse::<proc_macro2::TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(found)
}
