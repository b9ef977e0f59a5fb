//! The running kernel.

pub mod btf;
pub mod kallsyms;
pub mod kconfig;
pub mod syscalls;
pub mod tracefs;
