//! Interprocess communication.
