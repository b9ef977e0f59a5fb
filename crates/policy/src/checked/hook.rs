//! Hooks: where a policy attaches, what it captures there, and its selectors.

use super::argument::{self, Argument, Capture, Role};
use super::checker::{Checker, Place};
use super::comparison::unknown_list;
use super::filter::Values;
use super::list::{Members, SyscallName, symbol};
use super::program::{self, Program};
use super::quoting;
use super::selector::{self, Macros, Selector};
use crate::document::{
    Argument as WrittenArgument, Kprobe, LsmHook, Selector as WrittenSelector, Tracepoint, Uprobe,
    Usdt,
};
use crate::problem::{Path, excerpt};

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where it stands.
    pub place: Place,
    /// Where it attaches.
    pub target: Target,
    /// Text copied to the event, quoted; may be empty.
    pub message: String,
    /// Texts copied to the event, quoted.
    pub tags: Vec<String>,
    /// Arguments to capture.
    pub args: Vec<Argument>,
    /// Other values to capture.
    pub data: Vec<Argument>,
    /// The return value, if the return is hooked.
    pub return_arg: Option<Argument>,
    /// What to do with a returned socket.
    pub return_action: Option<ReturnAction>,
    /// Filters and actions; the first selector that matches acts. Empty: every call is posted.
    pub selectors: Vec<Selector>,
}

/// Where a hook attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Kernel function.
    Kprobe(Function),
    /// Kernel function, by trampoline.
    Fentry(Function),
    /// Tracepoint.
    Tracepoint {
        /// Subsystem.
        subsystem: String,
        /// Event.
        event: String,
        /// By the prototype of the raw tracepoint.
        raw: bool,
    },
    /// Hook of BPF LSM, without prefix.
    Lsm(String),
    /// Function of a program.
    Uprobe(Program),
    /// Static probe of a program.
    Usdt {
        /// Path of the file.
        path: String,
        /// Provider.
        provider: String,
        /// Name.
        name: String,
        /// BTF file for the types of the program.
        btf_path: Option<String>,
    },
}

/// Kernel functions to hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Which.
    pub call: Call,
    /// Whether they are system calls, whose arguments are in the caller's registers.
    pub syscall: bool,
    /// Whether functions that do not exist are left out.
    pub ignore_missing: bool,
}

/// One function or a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// By name.
    Function(String),
    /// The members of the policy's list of that name.
    List(String),
}

/// What to do with a returned socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnAction {
    /// Remember the process as its owner.
    TrackSock,
    /// Forget its owner.
    UntrackSock,
}

/// Kind of hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// Kernel function.
    Kprobe,
    /// Kernel function, by trampoline.
    Fentry,
    /// Tracepoint.
    Tracepoint,
    /// Function of a program.
    Uprobe,
    /// Static probe of a program.
    Usdt,
    /// Hook of BPF LSM.
    Lsm,
}

impl HookKind {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Kprobe, Self::Fentry, Self::Tracepoint, Self::Uprobe, Self::Usdt, Self::Lsm];

    /// The name of the section in the document.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobes",
            Self::Fentry => "fentries",
            Self::Tracepoint => "tracepoints",
            Self::Uprobe => "uprobes",
            Self::Usdt => "usdts",
            Self::Lsm => "lsmhooks",
        }
    }

    /// Whether it can see what was returned.
    #[must_use]
    pub fn has_return(self) -> bool {
        matches!(self, Self::Kprobe | Self::Fentry | Self::Uprobe)
    }
}

/// What a hook means for its actions.
pub(crate) struct Facts<'a> {
    pub(crate) kind: HookKind,
    /// Name of the function or LSM hook; empty for others.
    pub(crate) name: &'a str,
    /// Whether a kernel function's result can be replaced.
    pub(crate) overridable: bool,
    /// Whether only 0 and errnos can replace it.
    pub(crate) errno_only: bool,
}

/// What all kinds of hooks have.
struct Common<'a> {
    message: &'a str,
    tags: &'a [String],
    args: &'a [WrittenArgument],
    data: &'a [WrittenArgument],
    /// The return value, if the return is hooked.
    return_arg: Option<&'a WrittenArgument>,
    return_action: Option<&'a str>,
    selectors: &'a [WrittenSelector],
}

pub(crate) fn check_function(
    written: &Kprobe,
    kind: HookKind,
    macros: &Macros<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Hook> {
    let call_at = path.key("call");
    let call = check_call(&written.call, &call_at, checker)?;
    let is_security = |name: &str| name.starts_with("security_");
    let list = match &call {
        Call::List(name) => checker.lists.iter().find(|list| list.name == *name),
        Call::Function(_) => None,
    };
    let syscall = written.syscall || list.is_some_and(super::list::List::has_syscalls);
    let security = match (&call, list.map(|list| &list.members)) {
        (Call::Function(name), _) => is_security(name),
        (_, Some(Members::Functions(names))) => names.iter().all(|name| is_security(name)),
        _ => false,
    };
    let is_syscall = syscall || SyscallName::parse(&written.call).is_ok();
    let facts = Facts {
        kind,
        name: &written.call,
        overridable: is_syscall || security,
        errno_only: security,
    };
    let function = Function {
        call,
        syscall,
        ignore_missing: written.ignore.as_ref().is_some_and(|ignore| ignore.call_not_found),
    };
    let target = match kind {
        HookKind::Fentry => Target::Fentry(function),
        _ => Target::Kprobe(function),
    };
    let common = Common {
        message: &written.message,
        tags: &written.tags,
        args: &written.args,
        data: &written.data,
        return_arg: written.return_arg.as_ref().filter(|_| written.returns),
        return_action: written.return_arg_action.as_deref(),
        selectors: &written.selectors,
    };
    Some(check(target, &common, &facts, macros, path, checker))
}

pub(crate) fn check_tracepoint(
    written: &Tracepoint,
    macros: &Macros<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Hook {
    not_empty(&written.subsystem, "subsystem", path, checker);
    not_empty(&written.event, "event", path, checker);
    let facts =
        Facts { kind: HookKind::Tracepoint, name: "", overridable: false, errno_only: false };
    let target = Target::Tracepoint {
        subsystem: written.subsystem.clone(),
        event: written.event.clone(),
        raw: written.raw,
    };
    let common = Common::plain(&written.message, &written.tags, &written.args, &written.selectors);
    check(target, &common, &facts, macros, path, checker)
}

pub(crate) fn check_lsm(
    written: &LsmHook,
    macros: &Macros<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Hook {
    checker.ok(&path.key("hook"), symbol(&written.hook));
    if let Some(name) = written.hook.strip_prefix("bpf_lsm_") {
        let message = format!("LSM hooks are named without prefix: write `{}`", excerpt(name));
        checker.error(&path.key("hook"), message);
    }
    let facts =
        Facts { kind: HookKind::Lsm, name: &written.hook, overridable: true, errno_only: true };
    let common = Common::plain(&written.message, &written.tags, &written.args, &written.selectors);
    check(Target::Lsm(written.hook.clone()), &common, &facts, macros, path, checker)
}

pub(crate) fn check_uprobe(
    written: &Uprobe,
    macros: &Macros<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Hook> {
    let program = program::check(written, path, checker)?;
    let facts = Facts { kind: HookKind::Uprobe, name: "", overridable: true, errno_only: false };
    let common = Common {
        data: &written.data,
        return_arg: written.return_arg.as_ref().filter(|_| written.returns),
        ..Common::plain(&written.message, &written.tags, &written.args, &written.selectors)
    };
    Some(check(Target::Uprobe(program), &common, &facts, macros, path, checker))
}

pub(crate) fn check_usdt(
    written: &Usdt,
    macros: &Macros<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Hook {
    not_empty(&written.path, "path", path, checker);
    not_empty(&written.provider, "provider", path, checker);
    not_empty(&written.name, "name", path, checker);
    let facts = Facts { kind: HookKind::Usdt, name: "", overridable: false, errno_only: false };
    let target = Target::Usdt {
        path: written.path.clone(),
        provider: written.provider.clone(),
        name: written.name.clone(),
        btf_path: written.btf_path.clone().filter(|path| !path.is_empty()),
    };
    let common = Common::plain(&written.message, &written.tags, &written.args, &written.selectors);
    check(target, &common, &facts, macros, path, checker)
}

impl<'a> Common<'a> {
    fn plain(
        message: &'a str,
        tags: &'a [String],
        args: &'a [WrittenArgument],
        selectors: &'a [WrittenSelector],
    ) -> Self {
        Self { message, tags, args, data: &[], return_arg: None, return_action: None, selectors }
    }
}

fn check(
    target: Target,
    written: &Common<'_>,
    facts: &Facts<'_>,
    macros: &Macros<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Hook {
    let typed = !matches!(target, Target::Tracepoint { raw: false, .. });
    let capture = Capture { hook: facts.kind, typed };
    let args = argument::check_all(written.args, Role::Args, capture, &path.key("args"), checker);
    let data = argument::check_all(written.data, Role::Data, capture, &path.key("data"), checker);
    let return_arg = written
        .return_arg
        .map(|arg| argument::check(arg, Role::Return, capture, &path.key("returnArg"), checker));
    let return_action = return_action(written, path, checker);
    let values = Values {
        args: &args,
        data: &data,
        return_kind: return_arg.as_ref().map(|arg| arg.kind),
        by_position: facts.kind == HookKind::Tracepoint,
    };
    let selectors_at = path.key("selectors");
    let selectors =
        selector::check_all(written.selectors, macros, facts, &values, &selectors_at, checker);
    Hook {
        place: checker.place(path),
        target,
        message: check_message(written.message, &path.key("message"), checker),
        tags: check_tags(written.tags, &path.key("tags"), checker),
        args,
        data,
        return_arg,
        return_action,
        selectors,
    }
}

/// Reads a function's name or `list:NAME`.
pub(crate) fn check_call(text: &str, path: &Path<'_>, checker: &mut Checker<'_>) -> Option<Call> {
    let Some(name) = text.strip_prefix("list:") else {
        return checker.ok(path, symbol(text)).map(Call::Function);
    };
    if checker.lists.iter().any(|list| list.name == name) {
        return Some(Call::List(name.to_owned()));
    }
    let message = unknown_list(name, &checker.lists);
    checker.error(path, message);
    None
}

fn return_action(
    written: &Common<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<ReturnAction> {
    let at = path.key("returnArgAction");
    let action = match written.return_action? {
        "" => return None,
        "TrackSock" => ReturnAction::TrackSock,
        "UntrackSock" => ReturnAction::UntrackSock,
        "Post" => {
            checker.note(&at, "returnArgAction: Post has no effect any more: returns are posted");
            return None;
        }
        other => {
            let message = format!(
                "`{}` cannot be done with a return value: it can be TrackSock or UntrackSock",
                excerpt(other)
            );
            checker.error(&at, message);
            return None;
        }
    };
    if written.return_arg.is_none() {
        checker.error(&at, "returnArgAction needs the hook's `return: true` and `returnArg`");
    }
    Some(action)
}

fn check_message(text: &str, path: &Path<'_>, checker: &mut Checker<'_>) -> String {
    if text.len() == 1 {
        checker.error(path, "a message needs at least 2 bytes");
    }
    let (quoted, cut) = quoting::quote(text, quoting::MESSAGE);
    if cut {
        let message = format!("the message is cut to {} bytes", quoting::MESSAGE);
        checker.note(path, message);
    }
    quoted
}

fn check_tags(tags: &[String], path: &Path<'_>, checker: &mut Checker<'_>) -> Vec<String> {
    let mut checked = Vec::new();
    for (index, tag) in tags.iter().enumerate() {
        let path = path.index(index);
        if tag.len() < 2 {
            checker.error(&path, "a tag needs at least 2 bytes");
        }
        let (quoted, cut) = quoting::quote(tag, quoting::TAG);
        if cut {
            checker.note(&path, format!("the tag is cut to {} bytes", quoting::TAG));
        }
        checked.push(quoted);
    }
    checked
}

pub(crate) fn not_empty(text: &str, key: &str, path: &Path<'_>, checker: &mut Checker<'_>) {
    if text.is_empty() {
        checker.error(&path.key(key), format!("{key} must not be empty"));
    }
}
