//! What surrounds a run of the agent: its directory, its limits, its privileges, the signals that end it.

pub mod limits;
pub mod privileges;
pub mod run_dir;
pub mod signals;
