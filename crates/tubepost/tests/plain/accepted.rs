#![forbid(unsafe_code)]
#![deny(warnings)]
#![no_implicit_prelude]

//! What a user may write, in a crate that forbids unsafe code and imports one name.

use ::core::clone::Clone;
use ::core::marker::Copy;
use ::tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Point {
    x: f32,
    y: f32,
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Nested {
    at: Point,
    trail: [Point; 3],
    name: [u8; 16],
    r#type: u128,
    nothing: (),
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Tuple(u32, [i8; 4]);

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Unit;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Empty {}

#[derive(Message, Clone, Copy)]
#[repr(transparent)]
struct Wrapped(u64);

#[derive(Message, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

#[derive(Message, Clone, Copy)]
#[repr(C)]
#[repr(packed)]
struct Packed {
    tag: u8,
    #[deprecated]
    value: u64,
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Largest([u8; 1048576]);

fn text<M: Message + ?::core::marker::Sized>() -> ::std::string::String {
    ::std::string::ToString::to_string(&::tubepost::Format::of::<M>())
}

fn main() {
    ::core::assert_eq!(
        text::<Nested>(),
        "Nested { at: Point { x: f32 @0, y: f32 @4 } @0, trail: [Point { x: f32 @0, y: f32 @4 }; 3] @8, \
         name: [u8; 16] @32, type: u128 @48, nothing: () @64 } (64 bytes, align 16)"
    );
    ::core::assert_eq!(text::<Tuple>(), "Tuple { 0: u32 @0, 1: [i8; 4] @4 } (8 bytes, align 4)");
    ::core::assert_eq!(text::<Unit>(), "Unit (0 bytes, align 1)");
    ::core::assert_eq!(text::<Empty>(), "Empty (0 bytes, align 1)");
    ::core::assert_eq!(text::<Wrapped>(), "Wrapped { 0: u64 @0 } (8 bytes, align 8)");
    ::core::assert_eq!(text::<Line>(), "Line { 0: [u64; 8] @0 } (64 bytes, align 64)");
    ::core::assert_eq!(text::<Packed>(), "Packed { tag: u8 @0, value: u64 @1 } (9 bytes, align 1)");
    ::core::assert_eq!(text::<Largest>(), "Largest { 0: [u8; 1048576] @0 } (1048576 bytes, align 1)");
}
