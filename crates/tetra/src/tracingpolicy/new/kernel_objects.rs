//! Rules on what changes the kernel itself: BPF programs, modules, mounts.

use policy::document::{Operator, TypeName};

use super::draft::{Arg, At, Filter, Hook, Rule};
use super::ways::Ways;
use crate::error::Error;

/// `BPF_MAP_CREATE` and `BPF_PROG_LOAD` (`enum bpf_cmd`).
const CREATES: [u32; 2] = [0, 5];

/// Reports programs and maps of BPF.
pub(super) fn bpf_loads() -> Rule {
    Rule {
        about: "Reports BPF programs and maps that are loaded.".to_owned(),
        limits: vec!["This agent loads programs, too: `--except` leaves it out.".to_owned()],
        hooks: vec![Hook {
            why: "bpf(2) with the command BPF_MAP_CREATE (0) or BPF_PROG_LOAD (5).".to_owned(),
            at: At::Syscall("bpf".to_owned()),
            message: "BPF program or map".to_owned(),
            args: vec![
                Arg::new(0, TypeName::Int, "command"),
                Arg::new(1, TypeName::BpfAttr, "attributes"),
            ],
            selectors: vec![vec![Filter::new(0, Operator::Equal, CREATES)]],
            actions: Vec::new(),
        }],
        doubt: None,
    }
}

/// Reports modules.
///
/// # Errors
/// The kernel loads none.
pub(super) fn module_loads(ways: &Ways<'_>) -> Result<Rule, Error> {
    if !ways.has_tracepoint("module_load") {
        let message = "this kernel loads no modules: it was built without (CONFIG_MODULES)";
        return Err(Error::Policy(message.to_owned()));
    }
    Ok(Rule {
        about: "Reports kernel modules that are loaded.".to_owned(),
        limits: Vec::new(),
        hooks: vec![Hook {
            why: "The module is in the kernel, and its code has not run yet; whichever call loaded it."
                .to_owned(),
            at: At::RawTracepoint("module", "module_load"),
            message: "kernel module loaded".to_owned(),
            args: vec![Arg::new(0, TypeName::Module, "module")],
            selectors: Vec::new(),
            actions: Vec::new(),
        }],
        doubt: None,
    })
}

/// Reports mounts.
pub(super) fn mounts() -> Rule {
    let call = |name: &str, message: &str, labels: &'static [&'static str]| Hook {
        why: format!("{name}(2)."),
        at: At::Syscall(name.to_owned()),
        message: message.to_owned(),
        args: (0..).zip(labels).map(|(at, label)| Arg::new(at, TypeName::String, label)).collect(),
        selectors: Vec::new(),
        actions: Vec::new(),
    };
    let moved = Hook {
        args: vec![Arg::new(1, TypeName::String, "from"), Arg::new(3, TypeName::String, "onto")],
        ..call("move_mount", "mount", &[])
    };
    Rule {
        about: "Reports mounts, and what is unmounted.".to_owned(),
        limits: vec!["Paths are those that the process gave: they may be relative.".to_owned()],
        hooks: vec![
            call("mount", "mount", &["source", "onto", "type"]),
            moved,
            call("umount2", "unmount", &["mount"]),
            call("pivot_root", "other root directory", &["new", "old"]),
        ],
        doubt: None,
    }
}
