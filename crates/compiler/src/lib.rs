//! Programs made for one machine: the base programs that see every process, and, above them, the
//! programs that a policy compiles to.

pub mod base;
