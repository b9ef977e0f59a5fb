//! What is known of the machine that programs are made for: its types, its features, its tracepoints.

use kernel::btf::Btf;
use kernel::features::Features;
use kernel::tracefs::Tracefs;
use std::sync::Arc;

/// The kernel that policies are compiled for: the running one, or a recorded one.
#[derive(Debug)]
pub struct Machine {
    /// Types of the kernel.
    pub btf: Arc<Btf>,
    /// What it can do.
    pub features: Features,
    /// Its tracepoints; `None` where tracefs is not mounted.
    pub tracefs: Option<Tracefs>,
}

impl Machine {
    /// The running kernel, described by `btf`.
    pub fn running(btf: Arc<Btf>) -> Self {
        let features = Features::running(btf.clone());
        Self { btf, features, tracefs: Tracefs::find().ok() }
    }
}
