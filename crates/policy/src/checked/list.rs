//! Named lists of functions.

use super::checker::{Checker, Place};
use crate::document::{List as Written, ListType};
use crate::problem::{Path, excerpt};
use std::collections::HashSet;

/// A list, ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Its members.
    pub members: Members,
    /// Whether members that do not exist are taken as they are.
    pub validated: bool,
}

/// Members of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// Kernel functions by name.
    Functions(Vec<String>),
    /// System calls.
    Syscalls(Vec<SyscallName>),
    /// All system calls of the running kernel.
    AllSyscalls,
    /// All functions that can be traced and whose name the regular expression matches.
    Matching(String),
}

/// A system call in a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SyscallName {
    /// The ABI, if one is named; otherwise the machine's own.
    pub abi: Option<SyscallAbi>,
    /// Its name without prefix: `openat`.
    pub name: String,
}

/// Who calls, with which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyscallAbi {
    /// x86-64.
    X64,
    /// 32-bit x86.
    I386,
    /// arm64.
    Arm64,
    /// 32-bit arm.
    Arm32,
}

impl List {
    pub(crate) fn has_syscalls(&self) -> bool {
        matches!(self.members, Members::Syscalls(_) | Members::AllSyscalls)
    }
}

impl SyscallName {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no system call: write sys_NAME, or ABI/sys_NAME with ABI one of x64, \
                 i386, arm64 and arm32",
                excerpt(text)
            )
        };
        let (abi, symbol) = match text.split_once('/') {
            Some(("x64", symbol)) => (Some(SyscallAbi::X64), symbol),
            Some(("i386", symbol)) => (Some(SyscallAbi::I386), symbol),
            Some(("arm64", symbol)) => (Some(SyscallAbi::Arm64), symbol),
            Some(("arm32", symbol)) => (Some(SyscallAbi::Arm32), symbol),
            Some(_) => return Err(wrong()),
            None => (None, text),
        };
        let (prefixed, symbol) = match symbol.split_once("sys_") {
            Some(("", name)) => (None, name),
            Some(("__x64_", name)) => (Some(SyscallAbi::X64), name),
            Some(("__ia32_", name)) => (Some(SyscallAbi::I386), name),
            Some(("__arm64_", name)) => (Some(SyscallAbi::Arm64), name),
            _ => return Err(wrong()),
        };
        let symbol_ok = is_symbol(symbol);
        // The prefix of a compat call on arm is that of its 64-bit fellow.
        let fits = prefixed.is_none_or(|prefixed| {
            abi.is_none_or(|abi| {
                abi == prefixed || (abi, prefixed) == (SyscallAbi::Arm32, SyscallAbi::Arm64)
            })
        });
        if !symbol_ok || !fits {
            return Err(wrong());
        }
        Ok(Self { abi: abi.or(prefixed), name: symbol.to_owned() })
    }
}

/// Whether a text may be the name of a kernel function; compilers add dots (`f.isra.0`).
pub(crate) fn is_symbol(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A function's name, or what is wrong with it.
pub(crate) fn symbol(text: &str) -> Result<String, String> {
    if is_symbol(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is no name of a function", excerpt(text)))
    }
}

pub(crate) fn check(lists: &[Written], path: &Path<'_>, checker: &mut Checker<'_>) {
    let mut names = HashSet::new();
    for (index, list) in lists.iter().enumerate() {
        let path = path.index(index);
        if list.name.is_empty() {
            checker.error(&path.key("name"), "the name of a list must not be empty");
        } else if !names.insert(list.name.as_str()) {
            let message = format!("a list of the name `{}` exists already", excerpt(&list.name));
            checker.error(&path.key("name"), message);
        }
        let values = path.key("values");
        let generated =
            matches!(list.kind, Some(ListType::GeneratedSyscalls | ListType::GeneratedFtrace));
        match list.kind {
            Some(kind) if generated && !list.values.is_empty() => {
                checker.error(&values, format!("a list of type {kind} must have no values"));
            }
            _ if !generated && list.values.is_empty() => {
                checker.error(&values, "the list needs values");
            }
            _ => {}
        }
        if list.kind != Some(ListType::GeneratedFtrace) && list.pattern.is_some() {
            let message = "only lists of type generated_ftrace use a pattern; this one is not used";
            checker.note(&path.key("pattern"), message);
        }
        let members = match list.kind {
            None => Members::Functions(checker.each(&list.values, &values, symbol)),
            Some(ListType::Syscalls) => {
                Members::Syscalls(checker.each(&list.values, &values, SyscallName::parse))
            }
            Some(ListType::GeneratedSyscalls) => Members::AllSyscalls,
            Some(ListType::GeneratedFtrace) => {
                Members::Matching(pattern(list, &path.key("pattern"), checker))
            }
        };
        let place = checker.place(&path);
        let (name, validated) = (list.name.clone(), list.validated);
        checker.lists.push(List { place, name, members, validated });
    }
}

fn pattern(list: &Written, path: &Path<'_>, checker: &mut Checker<'_>) -> String {
    let pattern = list.pattern.clone().unwrap_or_default();
    if pattern.is_empty() {
        checker.error(path, "a list of type generated_ftrace needs a pattern");
    } else if let Err(error) = regex::Regex::new(&pattern) {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        checker.error(path, format!("the pattern is no regular expression: {last}"));
    }
    pattern
}
