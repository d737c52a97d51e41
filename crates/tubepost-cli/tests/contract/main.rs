//! The command's contract: what it prints where, its exit codes, and what it leaves behind. Real processes
//! throughout, each test in a domain of its own.

mod bench;
mod calling;
mod created;
mod demo;
mod ends;
mod files;
mod help;
mod linked;
mod places;
mod receiving;
mod regions;
mod run_told;
mod running;
mod scene;
mod sealed;
mod sending;
mod sharing;
mod showing;
mod talking;
