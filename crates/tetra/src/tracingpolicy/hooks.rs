//! `tetra tracingpolicy hooks`: what can be hooked on a kernel, with what it takes and gives, and as YAML
//! that can be pasted into a policy.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use compiler::plan::hookable::{Hookable, HookableKind, Value, hookable};
use serde::Serialize;

use super::Form;
use super::kernel::Kernel;
use crate::error::Error;
use crate::output::complain;

/// What to look for, on which kernel.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A part of the name, or the whole name with * for any text; upper and lower case are taken as equal
    search: String,
    /// Only places of this kind; may be given several times
    #[arg(short, long, value_enum, value_delimiter = ',')]
    kind: Vec<Kind>,
    /// Print them as YAML, ready to be put into a policy's spec
    #[arg(long, conflicts_with = "output")]
    yaml: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    #[command(flatten)]
    kernel: Kernel,
}

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// System calls.
    Syscall,
    /// Hooks of BPF LSM.
    Lsm,
    /// Tracepoints, by the record that they write.
    Tracepoint,
    /// Tracepoints, by their arguments.
    RawTracepoint,
    /// Functions of the kernel.
    Function,
}

impl Kind {
    fn of(self) -> HookableKind {
        match self {
            Self::Syscall => HookableKind::Syscall,
            Self::Lsm => HookableKind::Lsm,
            Self::Tracepoint => HookableKind::Tracepoint,
            Self::RawTracepoint => HookableKind::RawTracepoint,
            Self::Function => HookableKind::Function,
        }
    }
}

/// Name of a kind, as in the flag.
fn name(kind: HookableKind) -> &'static str {
    match kind {
        HookableKind::Syscall => "syscall",
        HookableKind::Lsm => "lsm",
        HookableKind::Tracepoint => "tracepoint",
        HookableKind::RawTracepoint => "raw-tracepoint",
        HookableKind::Function => "function",
    }
}

/// The places found.
///
/// # Errors
/// There is none.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let machine = flags.kernel.machine()?;
    let kinds: Vec<HookableKind> = match flags.kind.as_slice() {
        [] => Kind::value_variants().iter().map(|kind| kind.of()).collect(),
        kinds => kinds.iter().map(|kind| kind.of()).collect(),
    };
    if machine.tracefs.is_none() {
        complain(
            "note: without the tracing file system there are no records of tracepoints, nor what most system \
             calls take: `mount -t tracefs tracefs /sys/kernel/tracing`, as root",
        );
    }
    let wanted = |name: &str| matches(&flags.search, name);
    let found = hookable(&machine, &kinds, &wanted);
    if found.is_empty() {
        return Err(Error::Policy(format!(
            "nothing that can be hooked on this kernel is called like `{}`: give a part of the name, or * \
             for any text",
            flags.search
        )));
    }
    if flags.output == Form::Json {
        let all: Vec<Json<'_>> = found.iter().map(Json::of).collect();
        return Ok(serde_json::to_string_pretty(&all)? + "\n");
    }
    for (obstacle, count) in obstacles(&found) {
        complain(&format!("note: {count} of these cannot be hooked here: {obstacle}"));
    }
    Ok(if flags.yaml { yaml(&found) } else { text(&found) })
}

/// Whether a name is one that is looked for.
fn matches(search: &str, name: &str) -> bool {
    let (search, name) = (search.to_ascii_lowercase(), name.to_ascii_lowercase());
    if !search.contains('*') {
        // The name that policies give a system call is as good as its own.
        let call = search.strip_prefix("sys_").filter(|call| *call == name);
        return name.contains(&search) || call.is_some();
    }
    let mut parts = search.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let (last, middle) = parts.split_last().map_or(("", &[][..]), |(last, all)| (*last, all));
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Reasons why places cannot be hooked, and for how many.
fn obstacles(found: &[Hookable]) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    for obstacle in found.iter().filter_map(|place| place.obstacle.as_deref()) {
        *reasons.entry(obstacle).or_insert(0) += 1;
    }
    reasons
}

fn text(found: &[Hookable]) -> String {
    let line = |place: &Hookable| format!("{:<16}{}\n", name(place.kind), place.declaration);
    found.iter().map(line).collect()
}

/// Hooks under the name of their list, as they stand in a spec.
fn yaml(found: &[Hookable]) -> String {
    let section = |kind| match kind {
        HookableKind::Syscall | HookableKind::Function => "kprobes",
        HookableKind::Lsm => "lsmhooks",
        HookableKind::Tracepoint | HookableKind::RawTracepoint => "tracepoints",
    };
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for place in found {
        sections.entry(section(place.kind)).or_default().push_str(&hook(place));
    }
    sections.into_iter().map(|(name, hooks)| format!("{name}:\n{hooks}")).collect()
}

fn hook(place: &Hookable) -> String {
    let mut text = format!("# {}\n", place.declaration);
    match (place.kind, place.name.split_once('/')) {
        (HookableKind::Lsm, _) => text.push_str(&format!("- hook: \"{}\"\n", place.name)),
        (HookableKind::Tracepoint | HookableKind::RawTracepoint, Some((subsystem, event))) => {
            text.push_str(&format!("- subsystem: \"{subsystem}\"\n  event: \"{event}\"\n"));
            if place.kind == HookableKind::RawTracepoint {
                text.push_str("  raw: true\n");
            }
        }
        (kind, _) => {
            let syscall = kind == HookableKind::Syscall;
            text.push_str(&format!("- call: \"{}\"\n  syscall: {syscall}\n", place.name));
        }
    }
    if place.values.iter().any(|value| value.kind.is_some()) {
        text.push_str("  args:\n");
    }
    for value in &place.values {
        text.push_str(&argument(value));
    }
    text
}

fn argument(value: &Value) -> String {
    let Value { index, declaration, name, kind, length } = value;
    let Some(kind) = kind else {
        return format!("  # {index}: `{declaration}`: resolve one of its fields\n");
    };
    let mut text = format!("  - index: {index}\n    type: \"{kind}\"\n");
    if let Some(length) = length {
        text.push_str(&format!("    sizeArgIndex: {}\n", length + 1));
    }
    if !name.is_empty() {
        text.push_str(&format!("    label: \"{name}\"\n"));
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'f> {
    kind: &'static str,
    name: &'f str,
    declaration: &'f str,
    args: Vec<JsonValue<'f>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<&'f str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonValue<'f> {
    index: u32,
    name: &'f str,
    declaration: &'f str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_arg_index: Option<u32>,
}

impl<'f> Json<'f> {
    fn of(place: &'f Hookable) -> Self {
        let value = |value: &'f Value| JsonValue {
            index: value.index,
            name: &value.name,
            declaration: &value.declaration,
            kind: value.kind.map(|kind| kind.name()),
            size_arg_index: value.length.map(|length| length + 1),
        };
        Self {
            kind: name(place.kind),
            name: &place.name,
            declaration: &place.declaration,
            args: place.values.iter().map(value).collect(),
            return_type: place.result.map(|kind| kind.name()),
            obstacle: place.obstacle.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use compiler::Machine;
    use kernel::btf::{Btf, KERNEL_BTF};

    use super::*;
    use crate::tracingpolicy::check::{Severity, findings};
    use crate::tracingpolicy::kernel::everything;

    fn machine() -> Machine {
        Machine::recorded(Arc::new(Btf::from_file(KERNEL_BTF).unwrap()), everything())
    }

    #[test]
    fn names_are_matched_by_part_or_pattern() {
        assert!(matches("OPEN", "do_sys_openat2"));
        assert!(matches("security_*_open", "security_file_open"));
        assert!(matches("vfs_*", "vfs_read"));
        assert!(!matches("vfs_*", "__vfs_read"));
        assert!(!matches("a*a", "a"));
        assert!(matches("sys_openat", "openat"));
    }

    /// What is pasted has to be accepted, whatever the kernel's functions are.
    #[test]
    fn what_is_printed_is_a_policy() {
        let machine = machine();
        for search in ["security_file_*", "tcp_*", "vfs_*", "sched_process_*", "sys_enter", "bpf"] {
            let kinds: Vec<HookableKind> =
                Kind::value_variants().iter().map(|kind| kind.of()).collect();
            let found = hookable(&machine, &kinds, &|name| matches(search, name));
            assert!(!found.is_empty(), "{search}");
            for place in found.iter().filter(|place| place.obstacle.is_none()) {
                let indented: String =
                    yaml(std::slice::from_ref(place)).lines().map(|l| format!("  {l}\n")).collect();
                let policy = format!(
                    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: \
                     hook\nspec:\n{indented}"
                );
                let found = findings("hook.yaml", &policy, &machine, false);
                let errors: Vec<_> =
                    found.iter().filter(|one| one.severity == Severity::Error).collect();
                assert!(errors.is_empty(), "{errors:#?}\n{policy}");
            }
        }
    }
}
