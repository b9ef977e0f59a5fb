//! `tetra tracingpolicy generate`: policies with many hooks, from what the kernel or a program has.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use compiler::plan::hookable::{HookableKind, hookable};
use elf::{FunctionKind, ProgramFile};

use super::kernel::Kernel;
use crate::error::Error;

/// What to generate.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Only for this program; may be given several times
    #[arg(short, long, global = true, value_name = "PATH")]
    match_binary: Vec<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A policy without hooks
    Empty,
    /// A hook for each system call of the kernel
    AllSyscalls {
        #[command(flatten)]
        kernel: Kernel,
    },
    /// One hook with a list of all system calls of the kernel
    AllSyscallsList {
        #[command(flatten)]
        kernel: Kernel,
    },
    /// One hook with a list of the kernel's functions of a name
    FtraceList {
        /// Regular expression that has to match a part of the name
        #[arg(short, long, value_name = "REGEX")]
        regex: String,
        #[command(flatten)]
        kernel: Kernel,
    },
    /// A hook for each function of a program
    Uprobes {
        /// Path of the program or library
        #[arg(short, long, value_name = "PATH")]
        binary: PathBuf,
    },
    /// A hook for each static probe of a program
    Usdts {
        /// Path of the program or library
        #[arg(short, long, value_name = "PATH")]
        binary: PathBuf,
    },
}

/// The policy as YAML.
///
/// # Errors
/// There is nothing to hook.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let only = &flags.match_binary;
    match &flags.what {
        What::Empty => Ok(policy("empty", "  kprobes: []\n")),
        What::AllSyscalls { kernel } => {
            let hook =
                |call: String| format!("  - call: {call}\n    syscall: true\n{}", selectors(only));
            let hooks: String = syscalls(kernel)?.into_iter().map(hook).collect();
            Ok(policy("all-syscalls", &format!("  kprobes:\n{hooks}")))
        }
        What::AllSyscallsList { kernel } => {
            let list = list("syscalls", Some("syscalls"), &syscalls(kernel)?);
            let hook = format!("  - call: list:syscalls\n    syscall: true\n{}", selectors(only));
            Ok(policy("all-syscalls-list", &format!("{list}  kprobes:\n{hook}")))
        }
        What::FtraceList { regex, kernel } => {
            let list = list("ftrace", None, &functions(regex, kernel)?);
            let hook = format!("  - call: list:ftrace\n    syscall: false\n{}", selectors(only));
            Ok(policy("ftrace-list", &format!("{list}  kprobes:\n{hook}")))
        }
        What::Uprobes { binary } => {
            let symbols = symbols(binary)?;
            let names: String =
                symbols.iter().map(|name| format!("    - {}\n", quoted(name))).collect();
            let path = quoted(&path(binary)?);
            let hook = format!("  - path: {path}\n    symbols:\n{names}{}", selectors(only));
            Ok(policy("uprobes", &format!("  uprobes:\n{hook}")))
        }
        What::Usdts { binary } => {
            let path = quoted(&path(binary)?);
            let hook = |(provider, name): (String, String)| {
                let (provider, name) = (quoted(&provider), quoted(&name));
                let place =
                    format!("  - path: {path}\n    provider: {provider}\n    name: {name}\n");
                place + &selectors(only)
            };
            let hooks: String = probes(binary)?.into_iter().map(hook).collect();
            Ok(policy("usdts", &format!("  usdts:\n{hooks}")))
        }
    }
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n{spec}"
    )
}

fn selectors(only: &[String]) -> String {
    if only.is_empty() {
        return String::new();
    }
    let values: String = only.iter().map(|path| format!("        - {}\n", quoted(path))).collect();
    format!("    selectors:\n    - matchBinaries:\n      - operator: In\n        values:\n{values}")
}

fn list(name: &str, kind: Option<&str>, values: &[String]) -> String {
    let kind = kind.map(|kind| format!("    type: {kind}\n")).unwrap_or_default();
    let values: String = values.iter().map(|value| format!("    - {}\n", quoted(value))).collect();
    format!("  lists:\n  - name: {name}\n{kind}    values:\n{values}")
}

/// A string of YAML: JSON's are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn nothing(what: &str) -> Error {
    Error::Policy(format!("{what}: a policy without hooks would do nothing"))
}

/// The system calls that can be hooked.
fn syscalls(kernel: &Kernel) -> Result<Vec<String>, Error> {
    let found = hookable(&kernel.machine()?, &[HookableKind::Syscall], &|_| true);
    let calls = found.into_iter().filter(|call| call.obstacle.is_none());
    match calls.map(|call| call.name).collect::<Vec<_>>() {
        none if none.is_empty() => Err(nothing("no system call can be hooked on this kernel")),
        calls => Ok(calls),
    }
}

/// The functions that can be hooked and whose name the expression matches.
fn functions(regex: &str, kernel: &Kernel) -> Result<Vec<String>, Error> {
    let regex = regex::Regex::new(regex).map_err(|cause| Error::Usage(cause.to_string()))?;
    let matches = |name: &str| regex.is_match(name);
    let found = hookable(&kernel.machine()?, &[HookableKind::Function], &matches);
    let obstacle = found.iter().find_map(|function| function.obstacle.clone());
    let functions = found.into_iter().filter(|function| function.obstacle.is_none());
    match (functions.map(|function| function.name).collect::<Vec<_>>(), obstacle) {
        (none, Some(obstacle)) if none.is_empty() => Err(nothing(&format!(
            "none of the functions can be hooked on this kernel ({obstacle})"
        ))),
        (none, None) if none.is_empty() => {
            Err(nothing(&format!("this kernel has no function that {regex} matches")))
        }
        (functions, _) => Ok(functions),
    }
}

fn path(binary: &Path) -> Result<String, Error> {
    let wrong = |why: String| Error::Usage(format!("{}: {why}", binary.display()));
    let real = std::fs::canonicalize(binary).map_err(|cause| wrong(cause.to_string()))?;
    real.to_str().map(ToOwned::to_owned).ok_or_else(|| wrong("this name is not UTF-8".to_owned()))
}

fn contents(binary: &Path) -> Result<elf::Contents, Error> {
    let wrong = |cause: elf::Error| Error::Policy(format!("{}: {cause}", binary.display()));
    ProgramFile::open(binary).and_then(|file| file.contents()).map_err(wrong)
}

fn symbols(binary: &Path) -> Result<Vec<String>, Error> {
    let contents = contents(binary)?;
    let functions = contents.functions.iter();
    let code = functions.filter(|function| function.kind == FunctionKind::Code);
    let mut names: Vec<String> = code.map(|function| function.name.clone()).collect();
    names.sort();
    names.dedup();
    match names.is_empty() {
        true => Err(nothing(&format!("{} names no functions of its own", binary.display()))),
        false => Ok(names),
    }
}

/// Provider and name of each static probe, once.
fn probes(binary: &Path) -> Result<Vec<(String, String)>, Error> {
    let contents = contents(binary)?;
    let probes =
        contents.probes.map_err(|cause| Error::Policy(format!("{}: {cause}", binary.display())))?;
    let mut names: Vec<_> = probes.into_iter().map(|probe| (probe.provider, probe.name)).collect();
    names.sort();
    names.dedup();
    match names.is_empty() {
        true => Err(nothing(&format!("{} has no static probes", binary.display()))),
        false => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use policy::CheckedPolicy;

    use super::*;

    #[test]
    fn what_is_generated_reads() {
        let only = ["/bin/a \"b\"".to_owned()];
        let names = ["sys_read".to_owned(), "sys_write".to_owned()];
        let list = list("syscalls", Some("syscalls"), &names);
        let hook = format!("  - call: list:syscalls\n    syscall: true\n{}", selectors(&only));
        let text = policy("all", &format!("{list}  kprobes:\n{hook}"));
        let policy = CheckedPolicy::read("p.yaml", &text).unwrap();
        assert_eq!(policy.hooks[0].selectors[0].binaries[0].values, [b"/bin/a \"b\""]);
        assert!(CheckedPolicy::read("p.yaml", &super::policy("empty", "  kprobes: []\n")).is_ok());
    }

    #[test]
    fn functions_of_this_program_are_found() {
        let own = std::env::current_exe().unwrap();
        let found = symbols(&own).unwrap();
        assert!(found.iter().any(|name| name == "main"), "{} functions", found.len());
        assert!(symbols(Path::new("/etc/passwd")).is_err());
    }
}
