//! The base programs: they see every process start and end, and every cgroup come and go.
//!
//! They hang on BTF-typed tracepoints, so they run on every kernel that has BTF, with or without
//! kprobes and trampolines. Each keeps or reads the state of its process in task storage and writes
//! records ([`record`]) to one ring. [`Base`] puts them in place.

mod cgroup;
mod emit;
mod exec;
mod exit;
mod fork;
mod maps;
mod parts;
mod path;
mod programs;
pub mod record;
mod scan;
mod scratch;
mod sensor;
pub(crate) mod state;

pub use cgroup::CgroupOf;
pub use maps::Rings;
pub use programs::{BaseProgram, Hook, Options, programs};
pub use sensor::{Base, Losses};
