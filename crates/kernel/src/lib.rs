//! The running kernel: what it is ([`btf`], [`kallsyms`], [`syscalls`], [`tracefs`], [`kconfig`]), what it
//! can do ([`features`]), and making it do it ([`map`], [`program`], [`link`], [`ringbuf`], [`pin`]). What
//! perf tells of files that processes map to execute is in [`mappings`].
//!
//! bpf(2) and its kin are called directly, without libbpf or libelf. All `unsafe` of the project is in
//! this crate; what is public here is safe whatever it is given: lengths are checked against what the
//! kernel will read and write before it is called.

pub mod btf;
pub mod btf_object;
pub mod capability;
#[cfg(all(any(test, feature = "child"), target_arch = "x86_64"))]
pub mod child;
pub mod clock;
pub mod cpu;
mod errno;
mod error;
pub mod features;
pub mod kallsyms;
pub mod kconfig;
pub mod link;
pub mod map;
pub mod mappings;
pub mod memory;
pub mod mount;
mod object;
mod open_enum;
pub mod pidfd;
pub mod pin;
pub mod program;
pub mod ringbuf;
mod sys;
pub mod syscalls;
pub mod tracefs;

pub use errno::Errno;
pub use error::Error;
