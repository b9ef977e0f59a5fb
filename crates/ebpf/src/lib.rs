//! eBPF as a compilation target.
