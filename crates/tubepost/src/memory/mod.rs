//! Bytes in shared memory: what may live there, and how it gets in and out.
//!
//! # Safety
//!
//! `unsafe` is allowed in this folder: raw copies, and the promise that a type is plain data.
#![allow(unsafe_code)]

pub(crate) mod copy;
