//! The kernel that commands without an agent look at a policy for: this machine's, or another's that was
//! recorded.
//!
//! What this machine's kernel can do is found out by trying, which only root may. Others are told so, and
//! everything is taken for possible.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use compiler::Machine;
use kernel::btf::{Btf, KERNEL_BTF};
use kernel::capability::{self, Capabilities};
use kernel::features::{Feature, Features, Probe, Target};

use crate::error::Error;
use crate::output::complain;

/// Which kernel.
#[derive(Debug, Args)]
pub(crate) struct Kernel {
    /// BTF file of another machine's kernel [default: this one's, /sys/kernel/btf/vmlinux]
    #[arg(long, visible_alias = "btf", value_name = "FILE")]
    kernel_btf: Option<PathBuf>,
    /// What that kernel can do, as `tetra probe record` prints it there [default: everything]
    #[arg(long, value_name = "FILE", requires = "kernel_btf")]
    kernel_features: Option<PathBuf>,
}

impl Kernel {
    /// What is known of it.
    pub(crate) fn machine(&self) -> Result<Machine, Error> {
        let wrong = |cause: &dyn std::fmt::Display| Error::Kernel(cause.to_string());
        let Some(file) = &self.kernel_btf else {
            let btf = Btf::from_file(KERNEL_BTF).map_err(|cause| wrong(&cause))?;
            return this_machine(Arc::new(btf));
        };
        let btf = Btf::from_file(file).map_err(|cause| wrong(&cause))?;
        let features = match &self.kernel_features {
            Some(file) => Target::read(file).map_err(|cause| wrong(&cause))?,
            None => {
                complain(&format!(
                    "note: what the kernel of {} can do is not known: everything is assumed; \
                     `tetra probe record` prints it there, for --kernel-features",
                    file.display()
                ));
                everything()
            }
        };
        Ok(Machine::recorded(Arc::new(btf), features))
    }
}

fn this_machine(btf: Arc<Btf>) -> Result<Machine, Error> {
    let mine = capability::effective().map_err(|cause| Error::Kernel(cause.to_string()))?;
    let machine = Machine::running(btf);
    if mine.contains(Capabilities::SYS_ADMIN) {
        return Ok(machine);
    }
    complain(
        "note: only root can find out what this kernel can do: everything is assumed; run as root, or \
         take what `sudo tetra probe record` prints, with --kernel-btf and --kernel-features",
    );
    Ok(Machine { features: Features::recorded(everything()), ..machine })
}

/// A kernel that has every feature, for want of knowing better.
pub(super) fn everything() -> Target {
    Target {
        release: "unknown".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        answers: Feature::ALL.iter().map(|f| (f.name().to_owned(), Probe::Yes)).collect(),
    }
}
