//! Values to capture, checked.

use super::checker::{Checker, Place};
use super::field_path::{self, FieldStep};
use super::hook::HookKind;
use super::register;
use crate::document::{Argument as Written, TypeName};
use crate::problem::{Path, excerpt};

/// A value to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Where it stands.
    pub place: Place,
    /// Position in the hooked function, from 0; for tracepoints the number of the field.
    pub index: u32,
    /// How it is read.
    pub kind: TypeName,
    /// Text copied to the event.
    pub label: String,
    /// Position, from 0, of the argument that holds the length.
    pub size_argument: Option<u32>,
    /// Read at return, with the return value as length.
    pub return_copy: bool,
    /// Read up to 327360 bytes.
    pub max_data: bool,
    /// Where the value comes from.
    pub source: Source,
    /// Fields to follow from there.
    pub resolve: Vec<FieldStep>,
    /// Structure to take the value for.
    pub btf_type: Option<String>,
    /// Kernel module that declares it.
    pub btf_module: Option<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The hooked function's argument.
    Argument,
    /// The current `task_struct`.
    CurrentTask,
    /// A register at the hook.
    Register(String),
}

/// Which of a hook's values these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Args,
    Data,
    Return,
}

/// What a hook means for its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capture {
    pub(crate) hook: HookKind,
    /// Whether the hook hands over values of the kernel's types, whose fields can be followed.
    pub(crate) typed: bool,
}

pub(crate) fn check_all(
    written: &[Written],
    role: Role,
    capture: Capture,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Vec<Argument> {
    for (index, argument) in written.iter().enumerate() {
        let earlier = written
            .iter()
            .take(index)
            .position(|other| !argument.label.is_empty() && other.label == argument.label);
        if let Some(earlier) = earlier {
            let message = format!(
                "label `{}` is that of {}[{earlier}] too: events cannot tell them apart",
                excerpt(&argument.label),
                if role == Role::Data { "data" } else { "args" }
            );
            checker.note(&path.index(index).key("label"), message);
        }
    }
    let check_one = |(index, argument)| check(argument, role, capture, &path.index(index), checker);
    written.iter().enumerate().map(check_one).collect()
}

pub(crate) fn check(
    written: &Written,
    role: Role,
    capture: Capture,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Argument {
    let kind = written.kind;
    let buffer = matches!(kind, TypeName::CharBuf | TypeName::CharIovec);
    let size = written.size_arg_index.filter(|position| *position > 0);
    if kind == TypeName::ConstBuf {
        let message = "const_buf cannot be asked for: leave the type out and arrays are recognized";
        checker.error(&path.key("type"), message);
    }
    if kind == TypeName::Syscall64 && capture.hook != HookKind::Tracepoint {
        checker.error(&path.key("type"), "syscall64 is for tracepoints only");
    }
    if kind == TypeName::Auto
        && capture.hook == HookKind::Uprobe
        && role != Role::Data
        && written.resolve.is_empty()
    {
        let message = "a uprobe's values need a type: nothing tells what they are";
        checker.error(&path.key("type"), message);
    }
    if !capture.typed && !written.resolve.is_empty() {
        let message = "fields of formatted tracepoints have no fields of their own: use raw: true";
        checker.error(&path.key("resolve"), message);
    }
    if size.is_some() && !buffer && kind != TypeName::Auto {
        let message =
            format!("only char_buf and char_iovec have a length in another argument, not {kind}");
        checker.error(&path.key("sizeArgIndex"), message);
    }
    if written.return_copy {
        let at = path.key("returnCopy");
        if !buffer {
            let message = format!("only char_buf and char_iovec can be read at return, not {kind}");
            checker.error(&at, message);
        } else if role != Role::Args || !capture.hook.has_return() {
            checker
                .error(&at, "only arguments of kprobes, fentries and uprobes are read at return");
        }
    }
    if written.max_data {
        let at = path.key("maxData");
        if kind != TypeName::CharBuf {
            checker.error(&at, format!("maxData is for type char_buf only, not {kind}"));
        } else if written.return_copy {
            checker.error(&at, "maxData and returnCopy do not go together: remove one");
        }
    }
    let unsized_buffer =
        buffer && size.is_none() && !written.return_copy && written.resolve.is_empty();
    if unsized_buffer && role != Role::Return {
        let message = format!(
            "{kind} needs the length of the buffer: give sizeArgIndex (counted from 1) or \
             returnCopy: true"
        );
        checker.error(&path.key("type"), message);
    }
    if !written.btf_type_module.is_empty() && written.btf_type.is_empty() {
        checker.error(&path.key("btfTypeModule"), "btfTypeModule needs a btfType to look up there");
    }
    if !written.btf_type.is_empty() && written.resolve.is_empty() {
        checker.error(&path.key("btfType"), "btfType needs a resolve that starts there");
    }
    let (source, resolve) = source(written, role, path, checker);
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    Argument {
        place: checker.place(path),
        index: written.index,
        kind,
        label: written.label.clone(),
        size_argument: size.map(|position| position - 1),
        return_copy: written.return_copy,
        max_data: written.max_data,
        source,
        resolve,
        btf_type: text(&written.btf_type),
        btf_module: text(&written.btf_type_module),
    }
}

fn source(
    written: &Written,
    role: Role,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> (Source, Vec<FieldStep>) {
    let at = path.key("source");
    let resolve_at = path.key("resolve");
    let resolve = written.resolve.as_str();
    match (role, written.source.as_str()) {
        (Role::Data, "pt_regs") => {
            if resolve.is_empty() {
                checker.error(&resolve_at, "source pt_regs needs a register's name in resolve");
            } else {
                checker.ok(&resolve_at, register::check_name(resolve));
            }
            return (Source::Register(resolve.to_owned()), Vec::new());
        }
        (Role::Data, "current_task") => {
            if resolve.is_empty() {
                checker
                    .error(&resolve_at, "source current_task needs a field in resolve, e.g. pid");
            }
        }
        (Role::Data, source) => {
            let message = format!(
                "`{}` is no source of data: write current_task or pt_regs",
                excerpt(source)
            );
            checker.error(&at, message);
        }
        (_, "") => {}
        _ => checker.error(&at, "only data entries have a source: move this one to data"),
    }
    let steps = if resolve.is_empty() {
        Vec::new()
    } else {
        checker.ok(&resolve_at, field_path::parse(resolve)).unwrap_or_default()
    };
    let source = if role == Role::Data { Source::CurrentTask } else { Source::Argument };
    (source, steps)
}
