//! The running kernel.

pub mod btf;
pub mod btf_object;
pub mod capability;
pub mod clock;
pub mod cpu;
mod errno;
mod error;
pub mod features;
pub mod kallsyms;
pub mod kconfig;
pub mod link;
pub mod map;
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
