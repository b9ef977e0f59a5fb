//! `tetra tracingpolicy compile`: what a policy becomes on a kernel. Nothing is loaded, and the agent is
//! not asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use compiler::Machine;
use compiler::explain::{Explained, explain};
use compiler::lint::lints;
use compiler::plan::Plan;
use kernel::btf::{Btf, KERNEL_BTF};
use kernel::features::{Feature, Probe, Target};
use policy::CheckedPolicy;

use super::read;
use crate::error::Error;
use crate::output::complain;

/// What to compile, for which kernel.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// YAML or JSON
    file: PathBuf,
    /// BTF file of another machine's kernel; its own is /sys/kernel/btf/vmlinux
    #[arg(long, value_name = "FILE")]
    kernel_btf: Option<PathBuf>,
    /// What that kernel can do, as `tetra probe record` prints it there [default: everything]
    #[arg(long, value_name = "FILE", requires = "kernel_btf")]
    kernel_features: Option<PathBuf>,
}

/// The plan of the policy, then each of its programs: in the compiler's form, then as instructions. The
/// lines of the policy stand where they take effect.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let file = flags.file.display().to_string();
    let text = read(&flags.file)?;
    let wrong = |problems: policy::Problems| Error::Policy(problems.to_string());
    let policy = Arc::new(CheckedPolicy::read(&file, &text).map_err(wrong)?);
    policy.notes.iter().for_each(|note| complain(&format!("note: {}", note.line(&file))));
    let machine = machine(flags)?;
    let plan = Plan::new(policy, &machine).map_err(wrong)?;
    let programs = explain(std::slice::from_ref(&plan), &machine)
        .map_err(|cause| Error::Kernel(cause.to_string()))?;
    let mut text = format!("# Plan\n\n{plan}");
    for lint in lints(&plan, &machine.btf) {
        text.push_str(&format!("warning: {}\n", lint.line(&file)));
    }
    for Explained { place, module, program } in programs {
        text.push_str(&format!("\n# Program at {place}\n\n{module}"));
        let slots = program.slots();
        text.push_str(&format!("\n# Its {slots} instructions\n\n{}", program.disassemble()));
    }
    Ok(text)
}

fn machine(flags: &Flags) -> Result<Machine, Error> {
    let kernel = |cause: &dyn std::fmt::Display| Error::Kernel(cause.to_string());
    let Some(file) = &flags.kernel_btf else {
        let btf = Btf::from_file(KERNEL_BTF).map_err(|cause| kernel(&cause))?;
        return Ok(Machine::running(Arc::new(btf)));
    };
    let btf = Btf::from_file(file).map_err(|cause| kernel(&cause))?;
    let features = match &flags.kernel_features {
        Some(file) => Target::read(file).map_err(|cause| kernel(&cause))?,
        None => everything(file),
    };
    Ok(Machine::recorded(Arc::new(btf), features))
}

/// A kernel that has every feature, for want of knowing better.
fn everything(btf: &Path) -> Target {
    complain(&format!(
        "note: what the kernel of {} can do is not known: everything is assumed; `tetra probe \
         record` prints it there, for --kernel-features",
        btf.display()
    ));
    Target {
        release: "unknown".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        answers: Feature::ALL.iter().map(|f| (f.name().to_owned(), Probe::Yes)).collect(),
    }
}
