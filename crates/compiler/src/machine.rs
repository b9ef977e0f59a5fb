//! What is known of the machine that programs are made for: its types, its features, its tracepoints, its
//! functions.

use crate::functions::Functions;
use crate::host;
use kernel::btf::Btf;
use kernel::features::{Features, Target};
use kernel::syscalls::Abi;
use kernel::tracefs::Tracefs;
use policy::evaluate::Namespaces;
use std::path::Path;
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
    /// Its functions, beyond what the types say of them.
    pub functions: Functions,
    /// Its host's namespaces, by inode number: what `host_ns` in a policy means. A kind that is left
    /// out is not known.
    pub host: Namespaces,
}

impl Machine {
    /// The running kernel, described by `btf`.
    pub fn running(btf: Arc<Btf>) -> Self {
        let features = Features::running(btf.clone());
        let tracefs = Tracefs::find().ok();
        let functions = Functions::running(tracefs.clone());
        Self { btf, features, functions, tracefs, host: host::namespaces(Path::new("/proc")) }
    }

    /// Another machine's kernel, of which only its types and its features are known.
    pub fn recorded(btf: Arc<Btf>, features: Target) -> Self {
        let features = Features::recorded(features);
        let functions = Functions::unknown();
        Self { btf, features, tracefs: None, functions, host: Namespaces::new() }
    }

    /// The ABI of its 64-bit programs; `None` for architectures whose system calls are not known.
    pub fn abi(&self) -> Option<Abi> {
        match self.features.architecture() {
            "x86_64" => Some(Abi::X64),
            "aarch64" => Some(Abi::Arm64),
            "" => Abi::native(),
            _ => None,
        }
    }
}
