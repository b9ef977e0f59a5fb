//! From a process's cgroup to its container.

pub mod container;
pub mod hierarchy;
pub mod map;

pub use hierarchy::Hierarchy;
pub use map::CgroupMap;
