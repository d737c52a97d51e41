//! The layout of a plain type in words, so that two programs can compare it before they exchange a byte.
//!
//! A shape is a constant: describing a type costs nothing until somebody prints it. Its text is part
//! of the format of a segment (programs compare it byte for byte), so it changes only with the
//! format's version:
//!
//! ```text
//! u32                                   a number
//! [u8; 16]                              an array
//! Reading { sensor: u32 @0, at: Point { x: f32 @0, y: f32 @4 } @4 }
//!                                       a struct; @ is the offset in the struct that holds the field
//! Tick                                  a struct without fields
//! ```
//!
//! Types carry their bare name: a module path would make two programs disagree for nothing.

use std::fmt;

/// How the bytes of a plain type are laid out.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A number, or `()`.
    Scalar(&'static str),
    /// `len` elements, one after the other.
    Array {
        /// The shape of each.
        element: &'static Shape,
        /// How many.
        len: usize,
    },
    /// A struct that derives `Message`.
    Struct {
        /// Its bare name.
        name: &'static str,
        /// In order of declaration.
        fields: &'static [Field],
    },
}

/// A field of a struct.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name; its number in a tuple struct.
    pub name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: usize,
    /// What it holds.
    pub shape: &'static Shape,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Scalar(name) => f.write_str(name),
            Shape::Array { element, len } => write!(f, "[{element}; {len}]"),
            Shape::Struct { name, fields: [] } => f.write_str(name),
            Shape::Struct { name, fields } => {
                write!(f, "{name} {{ ")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{field}")?;
                }
                f.write_str(" }")
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} @{}", self.name, self.shape, self.offset)
    }
}
