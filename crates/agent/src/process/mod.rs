//! Processes: what is kept of them, and how they read in events.

pub mod ancestors;
pub mod arguments;
pub mod dump;
pub mod end;
pub mod entry;
pub mod flags;
pub mod identity;
pub mod parts;
pub mod privileges;
pub mod references;
pub mod table;

#[cfg(test)]
mod table_tests;
