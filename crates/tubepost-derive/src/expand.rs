//! The generated code: one `unsafe impl Plain` and the proofs that make it true.
//!
//! `Plain` promises: any bit pattern is a value, no byte is padding, nothing points anywhere. By
//! induction over the fields:
//!
//! 1. each field is `Plain` — naming `<Field as Plain>::SHAPE` demands it;
//! 2. the fields follow one another without a gap and end where the struct ends — asserted, and the
//!    assertion that fails names the field to look at;
//! 3. these are all the fields there are, with these types — a pattern without `..` that a later
//!    attribute macro, which may still rewrite the struct, can't slip past.
//!
//! Tokens keep the macro's own span wherever `unsafe` stands, so that `forbid(unsafe_code)` in the
//! user's crate does not meet it; checks carry the span of the field or name they complain about.

use crate::refuse::PlainStruct;
use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Index, Type};

struct Field<'a> {
    /// As code writes it: `sensor`, or `0` in a tuple struct.
    member: TokenStream,
    name: String,
    ty: &'a Type,
}

pub(crate) fn message(plain: &PlainStruct<'_>) -> TokenStream {
    let ident = plain.ident;
    let name = ident.unraw().to_string();
    let fields = fields(plain);

    let shapes = fields.iter().map(|Field { member, name, ty }| {
        quote! {
            ::tubepost::__private::Field {
                name: #name,
                offset: ::core::mem::offset_of!(#ident, #member),
                shape: &<#ty as ::tubepost::__private::Plain>::SHAPE,
            }
        }
    });
    let no_padding = no_padding(plain, &name, &fields);
    let complete = complete(plain, &fields);
    let limits = limits(plain, &name);

    // The unsafe impl is sound by induction over the fields, with the proofs below it.
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        unsafe impl ::tubepost::__private::Plain for #ident {
            const SHAPE: ::tubepost::__private::Shape = ::tubepost::__private::Shape::Struct {
                name: #name,
                fields: &[#(#shapes),*],
            };
        }
        #[allow(deprecated)]
        const _: () = {
            #no_padding
            #limits
            #complete
        };
    }
}

fn fields<'a>(plain: &PlainStruct<'a>) -> Vec<Field<'a>> {
    let number = |(i, field): (usize, &'a syn::Field)| match &field.ident {
        Some(ident) => {
            Field { member: ident.to_token_stream(), name: ident.unraw().to_string(), ty: &field.ty }
        }
        None => Field { member: Index::from(i).to_token_stream(), name: i.to_string(), ty: &field.ty },
    };
    plain.fields.iter().enumerate().map(number).collect()
}

fn no_padding(plain: &PlainStruct<'_>, name: &str, fields: &[Field<'_>]) -> TokenStream {
    let ident = plain.ident;
    if plain.transparent {
        let sizes = fields.iter().map(|Field { ty, .. }| quote!(::core::mem::size_of::<#ty>()));
        let sum = sizes.reduce(|sum, size| quote!(#sum + #size)).unwrap_or(quote!(0));
        let text = format!(
            "`{name}` has padding, so some of its bytes have no value: use `#[repr(C)]` with explicit fields"
        );
        return quote_spanned! {ident.span()=>
            ::core::assert!(::core::mem::size_of::<#ident>() == #sum, #text);
        };
    }
    let mut end = quote!(0);
    let mut after = "it has no field".to_owned();
    let mut checks = TokenStream::new();
    for Field { member, name: field, ty } in fields {
        let text = format!(
            "`{name}` has padding before field `{field}`, bytes without a value: add an explicit field there, such as \
             `_reserved: [u8; N]`, or put the fields with the largest alignment first"
        );
        checks.extend(quote_spanned! {ty.span()=>
            ::core::assert!(::core::mem::offset_of!(#ident, #member) == #end, #text);
        });
        end = quote!(::core::mem::offset_of!(#ident, #member) + ::core::mem::size_of::<#ty>());
        after = format!("after field `{field}`");
    }
    let text = format!(
        "`{name}` has padding at its end, {after}, bytes without a value: add an explicit last field, such as \
         `_reserved: [u8; N]`"
    );
    quote_spanned! {ident.span()=>
        #checks
        ::core::assert!(::core::mem::size_of::<#ident>() == #end, #text);
    }
}

fn limits(plain: &PlainStruct<'_>, name: &str) -> TokenStream {
    let ident = plain.ident;
    let size = format!(
        "`{name}` is larger than 1 MiB, the most that a message of fixed length can have: split it into several \
         messages"
    );
    let align = format!(
        "`{name}` has an alignment above 64, the most that a message can have: lower its `repr(align)`"
    );
    let copy = quote_spanned! {ident.span()=> ::tubepost::__private::must_be_copy::<#ident>(); };
    quote_spanned! {ident.span()=>
        ::core::assert!(::core::mem::size_of::<#ident>() <= ::tubepost::__private::SIZE_MAX, #size);
        ::core::assert!(::core::mem::align_of::<#ident>() <= ::tubepost::__private::ALIGN_MAX, #align);
        #copy
    }
}

/// A pattern that names every field with its type.
fn complete(plain: &PlainStruct<'_>, fields: &[Field<'_>]) -> TokenStream {
    let ident = plain.ident;
    let members = fields.iter().map(|field| &field.member);
    let types = fields.iter().map(|field| field.ty);
    let bindings: Vec<_> = (0..fields.len()).map(|i| format_ident!("field_{i}")).collect();
    quote! {
        let _: fn(#ident) = |value| {
            let #ident { #(#members: #bindings),* } = value;
            #(let _: #types = #bindings;)*
        };
    }
}
