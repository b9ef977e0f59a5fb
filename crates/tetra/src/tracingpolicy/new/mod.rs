//! `tetra tracingpolicy new`: a policy from what it is for. It is written for one kernel: with the hooks that
//! the kernel has, attached in a way that it can, and with comments that say what each part is for and what
//! it does not do.
//!
//! Rules that enforce decide about what the kernel uses, not about memory of the caller, deny instead of
//! killing where they can, and close the ways around them that `check` warns of.

mod draft;
mod files;
mod kernel_objects;
mod network;
mod place;
mod processes;
#[cfg(test)]
mod tests;
mod ways;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use policy::checked::Cidr;

use super::kernel::Kernel;
use crate::error::Error;
use crate::output::complain;
use draft::{Draft, Rule};
use ways::Ways;

/// What the policy is for.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("intent").multiple(true))]
pub(crate) struct Flags {
    /// Report files below a directory that are opened, made, renamed, removed or changed
    #[arg(long, value_name = "DIR", group = "intent", help_heading = "What it is for")]
    watch_dir: Vec<PathBuf>,
    /// Deny all changes of a file, or of what is below a directory
    #[arg(long, value_name = "PATH", group = "intent", help_heading = "What it is for")]
    deny_write: Vec<PathBuf>,
    /// Deny symbolic links to a file, or to what is below a directory
    #[arg(long, value_name = "PATH", group = "intent", help_heading = "What it is for")]
    deny_symlink_to: Vec<PathBuf>,
    /// Report TCP connections that processes make
    #[arg(long, group = "intent", help_heading = "What it is for")]
    watch_connections: bool,
    /// Deny connections and datagrams to the networks of --to
    #[arg(long, group = "intent", requires = "to", help_heading = "What it is for")]
    deny_connections: bool,
    /// Kill who executes a program, before its first instruction
    #[arg(long, value_name = "PATH", group = "intent", help_heading = "What it is for")]
    kill_on_exec: Vec<PathBuf>,
    /// Report BPF programs and maps that are loaded
    #[arg(long, group = "intent", help_heading = "What it is for")]
    watch_bpf_loads: bool,
    /// Report processes that become root or gain capabilities
    #[arg(long, group = "intent", help_heading = "What it is for")]
    watch_privilege_change: bool,
    /// Report kernel modules that are loaded
    #[arg(long, group = "intent", help_heading = "What it is for")]
    watch_module_loads: bool,
    /// Report mounts
    #[arg(long, group = "intent", help_heading = "What it is for")]
    watch_mounts: bool,
    /// Only addresses in this network, for --watch-connections and --deny-connections
    #[arg(long, value_name = "CIDR", value_parser = network)]
    to: Vec<Cidr>,
    /// A program to which the rules do not apply, with those that it starts; may be given several times
    #[arg(long, value_name = "PATH")]
    except: Vec<PathBuf>,
    /// Name of the policy [default: after what it is for]
    #[arg(long)]
    name: Option<String>,
    /// Only report what would be denied or killed
    #[arg(long)]
    monitor: bool,
    #[command(flatten)]
    kernel: Kernel,
}

fn network(text: &str) -> Result<Cidr, String> {
    text.parse()
}

/// The policy.
///
/// # Errors
/// A path that no policy can name, or hooks that the kernel does not have.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let machine = flags.kernel.machine()?;
    let ways = Ways::of(&machine);
    let mut doubts = Vec::new();
    let text = write(flags, &ways, &mut doubts)?;
    doubts.iter().for_each(|doubt| complain(&format!("note: {doubt}")));
    Ok(text)
}

/// The policy; what it cannot do on this kernel goes to `doubts`.
fn write(flags: &Flags, ways: &Ways<'_>, doubts: &mut Vec<String>) -> Result<String, Error> {
    let except = flags.except.iter().map(|path| place::absolute(path)).collect::<Result<_, _>>()?;
    let mut draft = Draft::new(except, flags.monitor);
    let mut names: Vec<&str> = Vec::new();
    let mut add = |name: &'static str, rule: Result<Rule, Error>| -> Result<(), Error> {
        let rule = rule?;
        names.push(name);
        doubts.extend(rule.doubt.clone().filter(|doubt| !doubts.contains(doubt)));
        draft.add(rule);
        Ok(())
    };
    for path in &flags.watch_dir {
        add("watch-dir", files::watch_dir(path, ways))?;
    }
    for path in &flags.deny_write {
        add("deny-write", files::deny_write(path, ways))?;
    }
    for path in &flags.deny_symlink_to {
        add("deny-symlink", files::deny_symlink_to(path, ways))?;
    }
    if flags.watch_connections {
        add("watch-connections", Ok(network::watch(&flags.to, ways)))?;
    }
    if flags.deny_connections {
        add("deny-connections", network::deny(&flags.to, ways))?;
    }
    for path in &flags.kill_on_exec {
        add("kill-on-exec", processes::kill_on_exec(path))?;
    }
    if flags.watch_bpf_loads {
        add("watch-bpf-loads", Ok(kernel_objects::bpf_loads()))?;
    }
    if flags.watch_privilege_change {
        add("watch-privilege-change", Ok(processes::privilege_change(ways)))?;
    }
    if flags.watch_module_loads {
        add("watch-module-loads", kernel_objects::module_loads(ways))?;
    }
    if flags.watch_mounts {
        add("watch-mounts", Ok(kernel_objects::mounts()))?;
    }
    if names.is_empty() {
        return Err(Error::Usage(
            "say what the policy is for, such as --watch-dir DIR or --deny-write PATH: \
             `tetra tracingpolicy new --help` lists all"
                .to_owned(),
        ));
    }
    names.dedup();
    let name = flags.name.clone().unwrap_or_else(|| names.join("-and-"));
    Ok(draft.text(&name))
}
