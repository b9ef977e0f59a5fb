//! `tetra tracingpolicy compile`: what a policy becomes on a kernel. Nothing is loaded, and the agent is
//! not asked.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use compiler::explain::{Explained, explain};
use compiler::lint::lints;
use compiler::plan::Plan;
use policy::CheckedPolicy;

use super::kernel::Kernel;
use super::read;
use crate::error::Error;
use crate::output::complain;

/// What to compile, for which kernel.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// YAML or JSON
    file: PathBuf,
    #[command(flatten)]
    kernel: Kernel,
}

/// The plan of the policy, then each of its programs: in the compiler's form, then as instructions. The
/// lines of the policy stand where they take effect.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let file = flags.file.display().to_string();
    let text = read(&flags.file)?;
    let wrong = |problems: policy::Problems| Error::Policy(problems.to_string());
    let policy = Arc::new(CheckedPolicy::read(&file, &text).map_err(wrong)?);
    policy.notes.iter().for_each(|note| complain(&format!("note: {}", note.line(&file))));
    let machine = flags.kernel.machine()?;
    let plan = Plan::new(policy, &machine).map_err(wrong)?;
    let programs = explain(std::slice::from_ref(&plan), &machine)
        .map_err(|cause| Error::Kernel(cause.to_string()))?;
    let mut text = format!("# Plan\n\n{plan}");
    for lint in lints(&plan, &machine.btf) {
        text.push_str(&format!("warning: {}\n", lint.line(&file)));
    }
    for Explained { place, module, program, .. } in programs {
        text.push_str(&format!("\n# Program at {place}\n\n{module}"));
        let slots = program.slots();
        text.push_str(&format!("\n# Its {slots} instructions\n\n{}", program.disassemble()));
    }
    Ok(text)
}
