//! The base programs: they see every process start and end, and every cgroup come and go.

pub mod record;
