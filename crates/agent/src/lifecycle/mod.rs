//! What surrounds a run of the agent: its directory, its privileges, the signals that end it.

pub mod privileges;
pub mod run_dir;
pub mod signals;
