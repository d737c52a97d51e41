//! What serde says of a type: its name and those of its fields or variants.
//!
//! A type that is to be deserialized first tells the deserializer what it expects. This one writes that down, and refuses. What
//! is in an option, or stands for something else alone, is asked again.

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use std::fmt::{self, Display};

/// The type, as `Job { path, width }`.
pub(super) fn shown<T: DeserializeOwned>() -> String {
    let mut text = String::new();
    let _ = T::deserialize(Told(&mut text));
    text
}

struct Told<'a>(&'a mut String);

/// All was told.
#[derive(Debug)]
struct Enough;

impl Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only its name was asked for")
    }
}

impl std::error::Error for Enough {}

impl Error for Enough {
    fn custom<T: Display>(_: T) -> Enough {
        Enough
    }
}

impl Told<'_> {
    fn is<V>(self, what: impl Display) -> Result<V, Enough> {
        self.0.push_str(&what.to_string());
        Err(Enough)
    }
}

macro_rules! simple {
    ($($method:ident $what:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
            self.is($what)
        })*
    };
}

impl<'de> Deserializer<'de> for Told<'_> {
    type Error = Enough;

    simple! {
        deserialize_any "anything" deserialize_ignored_any "anything" deserialize_bool "bool"
        deserialize_i8 "i8" deserialize_i16 "i16" deserialize_i32 "i32" deserialize_i64 "i64" deserialize_i128 "i128"
        deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32" deserialize_u64 "u64" deserialize_u128 "u128"
        deserialize_f32 "f32" deserialize_f64 "f64" deserialize_char "char"
        deserialize_str "text" deserialize_string "text" deserialize_identifier "text"
        deserialize_bytes "bytes" deserialize_byte_buf "bytes"
        deserialize_unit "nothing" deserialize_seq "sequence" deserialize_map "map"
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.0.push_str("option of ");
        visitor.visit_some(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, _: V) -> Result<V::Value, Enough> {
        self.is(format_args!("tuple of {length}"))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, Enough> {
        self.is(name)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, Enough> {
        self.is(name)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        _: V,
    ) -> Result<V::Value, Enough> {
        self.is(format_args!("{name} of {length}"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        self.is(format_args!("{name} {{ {} }}", fields.join(", ")))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        self.is(format_args!("{name} {{ {} }}", variants.join(", ")))
    }

    // As where it is encoded: some types are another then.
    fn is_human_readable(&self) -> bool {
        false
    }
}
