//! The values of hooks whose arguments have C types: what each is, and whether the policy's word for
//! it fits.

use super::planner::{Inputs, Planner};
use super::register;
use super::resolve::{self, Resolved};
use super::shape::{Shape, integer, lacking};
use super::signature::{Origin, Parameter, REGISTERS, Signature};
use super::{Attachment, Input, Length, Source};
use kernel::btf::Btf;
use policy::checked::{Argument, Hook, Source as Written, ValueKind};
use policy::document::TypeName;
use std::sync::Arc;

/// Which of a hook's values it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Argument,
    Result,
}

/// A value before its type is judged.
struct Value {
    source: Source,
    /// What it is in C; `None`: nothing is known.
    shape: Option<Shape>,
    /// What messages call it, and what they cite.
    what: String,
    cited: String,
    /// Where fields were followed to.
    resolved: Option<Resolved>,
}

/// Kernel objects cannot be arguments of system calls, and so on: types that user space has too.
pub(super) fn in_user_space(kind: TypeName) -> bool {
    matches!(
        kind.kind(),
        ValueKind::Integer(_)
            | ValueKind::Capability
            | ValueKind::SocketAddress
            | ValueKind::UnixAddress
            | ValueKind::Auto
    ) || matches!(
        kind,
        TypeName::String
            | TypeName::CharBuf
            | TypeName::CharIovec
            | TypeName::Fd
            | TypeName::Nop
            | TypeName::BpfAttr
    )
}

/// Refuses types whose values this kernel does not have. `what` is one.
pub(super) fn captured(btf: &Btf, kind: TypeName, what: &str) -> Result<(), String> {
    match lacking(btf, kind) {
        None => Ok(()),
        Some(name) => Err(format!("{what} is no {kind}: this kernel has no `struct {name}`")),
    }
}

impl Planner<'_> {
    /// The values of a hook; `None` when something is wrong with one, which is said.
    pub(super) fn inputs(
        &mut self,
        hook: &Hook,
        signature: &Signature,
        attachment: &Attachment,
    ) -> Option<Inputs> {
        let before = self.problems();
        let mut read = |arguments: &[Argument], role| -> Vec<Input> {
            let read = |argument| self.input(argument, role, signature, attachment);
            arguments.iter().filter_map(read).collect()
        };
        let args = read(&hook.args, Role::Argument);
        let data = read(&hook.data, Role::Argument);
        let returned = read(hook.return_arg.as_slice(), Role::Result).pop();
        (self.problems() == before).then_some(Inputs { args, data, returned })
    }

    fn input(
        &mut self,
        argument: &Argument,
        role: Role,
        signature: &Signature,
        attachment: &Attachment,
    ) -> Option<Input> {
        let value = match &argument.source {
            Written::Register(name) => self.register(name, attachment),
            Written::CurrentTask => self.task(argument),
            Written::Argument => argument_value(argument, role, signature),
        };
        let judged = value.and_then(|mut value| {
            if let Some(start) = start(argument, role, signature, &self.machine.btf, &value)? {
                let (btf, id) = start;
                let wanted = number(argument.kind);
                let resolved = resolve::follow(&btf, id, &argument.resolve, wanted)?;
                let object = matches!(resolved.shape, Shape::Object(_) | Shape::Text | Shape::Other);
                let of_module = |hop: &kernel::btf::Hop| {
                    !Arc::ptr_eq(&btf, &self.machine.btf)
                        && signature.origin != Origin::Program
                        && hop.ty.0 >= self.machine.btf.len()
                };
                if object && resolved.hops.last().is_some_and(of_module) {
                    return Err(format!(
                        "`{}` is `{}`, which only a module declares: this build captures numbers and \
                         pointers of such types, not what is in place",
                        resolved.text, resolved.ty
                    ));
                }
                value.what = format!("`{}` of {}", resolved.text, value.what);
                value.cited = format!("`{}`", resolved.ty);
                value.shape = Some(resolved.shape.clone());
                value.resolved = Some(resolved);
            }
            let read = kind(argument, signature, &value)?;
            if read.contradicts {
                value.source = as_number(value.source, signature);
            }
            Ok((value, read))
        });
        let length = argument.size_argument.map(|index| length(index, argument, signature));
        match (judged, length.transpose()) {
            (Ok((value, Read { kind, note, .. })), Ok(length)) => {
                if let Some(note) = note {
                    self.note(&argument.place, note);
                }
                if let Err(message) = bounded(kind, argument, &value) {
                    self.error(&argument.place, message);
                    return None;
                }
                let (text, hops) = match value.resolved {
                    Some(resolved) => (resolved.text, resolved.hops),
                    None => (String::new(), Vec::new()),
                };
                Some(Input {
                    place: argument.place.clone(),
                    kind,
                    label: argument.label.clone(),
                    source: value.source,
                    resolve: text,
                    hops,
                    length: match kind {
                        TypeName::CharBuf | TypeName::CharIovec => length,
                        TypeName::SockaddrUn | TypeName::BpfAttr => {
                            length.or_else(|| behind(argument, signature))
                        }
                        _ => None,
                    },
                    return_copy: argument.return_copy,
                    max_data: argument.max_data,
                })
            }
            (judged, length) => {
                for message in judged.err().into_iter().chain(length.err()) {
                    self.error(&argument.place, message);
                }
                None
            }
        }
    }

    fn register(&self, name: &str, attachment: &Attachment) -> Result<Value, String> {
        let registers = match attachment {
            Attachment::Kprobe { .. } | Attachment::Syscall { .. } | Attachment::Uprobe(_) => true,
            Attachment::Trampoline { syscall, .. } => *syscall,
            _ => false,
        };
        if !registers {
            let message = "only kprobes, system calls and uprobes have registers to read";
            return Err(message.to_owned());
        }
        let architecture = self.machine.features.architecture();
        let (offset, size) = register::locate(&self.machine.btf, architecture, name)?;
        Ok(Value {
            source: Source::Register { offset, size },
            shape: Some(Shape::Integer { size, signed: false, size_t: false }),
            what: format!("register {name}"),
            cited: format!("{size} bytes"),
            resolved: None,
        })
    }

    fn task(&self, argument: &Argument) -> Result<Value, String> {
        match argument.resolve.is_empty() {
            true => Err("source current_task needs a field in resolve, e.g. pid".to_owned()),
            false => Ok(Value {
                source: Source::CurrentTask,
                shape: None,
                what: "the current task".to_owned(),
                cited: String::new(),
                resolved: None,
            }),
        }
    }
}

/// The value that an argument's index names.
fn argument_value(argument: &Argument, role: Role, signature: &Signature) -> Result<Value, String> {
    let cited = format!("`{}`", signature.text);
    if role == Role::Result {
        let shape = signature.result.as_ref().map(|result| result.shape.clone());
        if shape == Some(Shape::Nothing) {
            return Err(format!("{cited} returns nothing: leave out `return` and `returnArg`"));
        }
        let ty = signature.result.as_ref().and_then(|result| result.ty);
        return Ok(Value {
            source: Source::Returned { pointee: signature.pointee(ty) },
            shape,
            what: "the return value".to_owned(),
            cited: declared(signature, signature.result.as_ref()),
            resolved: None,
        });
    }
    let parameter = parameter(argument.index, signature)?;
    let ty = parameter.and_then(|parameter| parameter.ty);
    Ok(Value {
        source: Source::Argument {
            index: argument.index,
            pointee: signature.pointee(ty),
            hidden: signature.hides(ty),
        },
        shape: parameter.map(|parameter| parameter.shape.clone()),
        what: format!("argument {}", argument.index),
        cited: declared(signature, parameter),
        resolved: None,
    })
}

/// What a message cites of a value's declaration.
fn declared(signature: &Signature, parameter: Option<&Parameter>) -> String {
    match parameter {
        Some(parameter) => format!("`{}` in `{}`", parameter.text, signature.text),
        None => format!("unknown in `{}`", signature.text),
    }
}

/// The parameter of an index; `None` where parameters are not known.
fn parameter(index: u32, signature: &Signature) -> Result<Option<&Parameter>, String> {
    let at = index as usize;
    let text = &signature.text;
    let parameter = match &signature.params {
        None => None,
        Some(params) => Some(params.get(at).ok_or_else(|| match params.len() {
            0 => format!("there is no argument {index}: `{text}` takes none"),
            1 => format!("there is no argument {index}: `{text}` takes one, of index 0"),
            count => format!(
                "there is no argument {index}: `{text}` takes {count}, of index 0 to {}",
                count - 1
            ),
        })?),
    };
    if signature.readable.is_some_and(|readable| at >= readable) {
        return Err(match signature.origin {
            Origin::Syscall => {
                format!("there is no argument {index}: system calls take at most six")
            }
            Origin::Program => format!(
                "argument {index} of `{text}` is not in a register: only the first {REGISTERS} are"
            ),
            Origin::Kernel => format!(
                "argument {index} of `{text}` is not in a register of its own, and kprobes find \
                 arguments only there"
            ),
        });
    }
    if parameter.is_some_and(Parameter::is_object) {
        return Err(format!(
            "argument {index} of `{text}` is a structure by value, which cannot be read"
        ));
    }
    Ok(parameter)
}

/// Where the length of a buffer is.
fn length(index: u32, argument: &Argument, signature: &Signature) -> Result<Length, String> {
    let wrong = |message: String| format!("sizeArgIndex {}: {message}", index + 1);
    let parameter = parameter(index, signature).map_err(wrong)?;
    if let Some(parameter) = parameter.filter(|parameter| !parameter.shape.is_integer()) {
        return Err(wrong(format!(
            "argument {index} of `{}` is `{}` and no length (sizeArgIndex counts from 1)",
            signature.text, parameter.text
        )));
    }
    if index == argument.index && argument.resolve.is_empty() {
        return Err(wrong("the buffer is not its own length (sizeArgIndex counts from 1)".into()));
    }
    // Where nothing is known of it, what size_t has.
    let size = match parameter.map(|parameter| &parameter.shape) {
        Some(Shape::Integer { size, .. }) => *size,
        _ => 8,
    };
    Ok(Length { source: Source::Argument { index, pointee: None, hidden: false }, size })
}

/// The length of a socket address, which stands behind it: `connect(int fd, struct sockaddr *address, int
/// addrlen)`, `security_socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)`. So it
/// does behind attributes: `bpf(int cmd, union bpf_attr *attr, unsigned int size)`.
fn behind(argument: &Argument, signature: &Signature) -> Option<Length> {
    let named = argument.source == Written::Argument && argument.resolve.is_empty();
    let index = argument.index + 1;
    let is_length = match parameter(index, signature).ok()? {
        Some(parameter) => matches!(parameter.shape, Shape::Integer { size: 4, .. }),
        None => MEASURED.contains(&(signature.text.as_str(), argument.index)),
    };
    (named && is_length).then_some(Length {
        source: Source::Argument { index, pointee: None, hidden: false },
        size: 4,
    })
}

/// Which arguments of system calls have their length behind them, where the kernel does not say what
/// calls take.
const MEASURED: [(&str, u32); 4] =
    [("sys_bind", 1), ("sys_connect", 1), ("sys_sendto", 4), ("sys_bpf", 1)];

/// The types and the structure that `resolve` starts from; `None` without `resolve`.
fn start(
    argument: &Argument,
    role: Role,
    signature: &Signature,
    base: &Arc<Btf>,
    value: &Value,
) -> Result<Option<(Arc<Btf>, kernel::btf::TypeId)>, String> {
    if argument.resolve.is_empty() || matches!(argument.source, Written::Register(_)) {
        return Ok(None);
    }
    let from_task = argument.source == Written::CurrentTask;
    if !from_task && signature.origin == Origin::Syscall {
        return Err(format!(
            "{} of a system call is in memory of the process, where the kernel's structures are \
             not: remove `resolve`",
            value.what
        ));
    }
    let pointer = match &value.shape {
        None => true,
        Some(shape) => matches!(shape, Shape::Pointer(_) | Shape::Integer { size: 8, .. }),
    };
    if !pointer {
        return Err(format!("{} has no fields to resolve: it is {}", value.what, value.cited));
    }
    let program = !from_task && signature.origin == Origin::Program;
    if program && Arc::ptr_eq(base, &signature.btf) {
        return Err(format!(
            "the types of `{}` are not known, so {} has no fields to resolve: the file has no BTF of \
             its own, name one with `btfPath`",
            signature.text, value.what
        ));
    }
    if let Some(name) = &argument.btf_type {
        let (base, module) = match program {
            true => (&signature.btf, None),
            false => (base, argument.btf_module.as_deref()),
        };
        return resolve::structure(base, name, module).map(Some);
    }
    if from_task {
        return resolve::structure(base, "task_struct", None).map(Some);
    }
    let parameter = match role {
        Role::Result => signature.result.as_ref(),
        Role::Argument => parameter(argument.index, signature)?,
    };
    let object = parameter
        .and_then(|parameter| parameter.ty)
        .and_then(|ty| signature.btf.pointee(ty))
        .filter(|to| signature.btf.is_composite(*to));
    match object {
        Some(object) => Ok(Some((signature.btf.clone(), object))),
        None => Err(format!(
            "what {} points to is not known: it is {}; say so with `btfType`",
            value.what, value.cited
        )),
    }
}

/// Whether the policy wants a number.
fn number(kind: TypeName) -> bool {
    matches!(kind.kind(), ValueKind::Integer(_) | ValueKind::Capability)
}

/// How a value is read.
struct Read {
    kind: TypeName,
    /// What to tell about that.
    note: Option<String>,
    /// Whether it is read as the policy says though C says otherwise.
    contradicts: bool,
}

/// A source of which the verifier is to know nothing but that it is a number.
fn as_number(source: Source, signature: &Signature) -> Source {
    match source {
        Source::Argument { index, .. } => {
            Source::Argument { index, pointee: None, hidden: signature.typed }
        }
        Source::Returned { .. } => Source::Returned { pointee: None },
        other => other,
    }
}

/// How a value is read.
fn kind(argument: &Argument, signature: &Signature, value: &Value) -> Result<Read, String> {
    let declared = argument.kind;
    let user = signature.origin != Origin::Kernel
        && value.resolved.is_none()
        && argument.source == Written::Argument;
    let sized = argument.size_argument.is_some() || argument.return_copy;
    let (what, cited) = (&value.what, &value.cited);
    let inferred = match (&value.shape, &argument.source) {
        (Some(Shape::Integer { size, signed, .. }), Written::Register(_)) => {
            Some(integer(*size, *signed))
        }
        (Some(shape), _) => shape.inferred(sized),
        (None, _) => None,
    };
    let mut contradicts = false;
    let (kind, note) = match (declared, &value.shape) {
        (TypeName::Auto, None) => {
            return Err(match signature.origin {
                Origin::Program => format!("nothing tells the type of {what}: give a `type`"),
                Origin::Syscall => format!(
                    "the type of {what} is not known on this kernel (neither its BTF nor its tracing \
                     file system describe it): give a `type`"
                ),
                Origin::Kernel => format!(
                    "the type of {what} is not known on this kernel (its BTF does not describe it): \
                     give a `type`"
                ),
            });
        }
        (TypeName::Auto, Some(_)) => match inferred {
            Some(kind) => (kind, None),
            None => {
                return Err(format!("{what} is {cited}, which no type stands for: give a `type`"));
            }
        },
        (TypeName::DataLoc, _) => {
            return Err("data_loc is for fields of tracepoints only".to_owned());
        }
        (declared, None) => (declared, None),
        (declared, Some(shape)) if shape.fits(declared) => (declared, None),
        (declared, Some(shape)) => match inferred {
            // What fields lead to is as they say, not as the policy says of where they start.
            Some(kind) if value.resolved.is_some() => {
                let note = format!("{what} is {cited}: read as {kind}, not {declared}");
                (kind, Some(note))
            }
            // Users know of casts that C's types do not tell.
            other if value.resolved.is_none() && shape.is_word() => {
                contradicts = true;
                let better = other.map_or_else(String::new, |kind| {
                    format!("; if that is not meant, write `type: {kind}`")
                });
                let note = format!("{what} is {cited}: read as {declared} all the same{better}");
                (declared, Some(note))
            }
            Some(kind) => {
                return Err(format!(
                    "{what} is {cited}: it is no {declared}, write `type: {kind}`"
                ));
            }
            None => return Err(format!("{what} is {cited}, which cannot be read as {declared}")),
        },
    };
    if user && !in_user_space(kind) {
        return Err(match signature.origin {
            Origin::Program => {
                format!(
                    "{what} of a program is no {kind}: programs have none of the kernel's objects"
                )
            }
            _ => format!(
                "{what} of a system call comes from user space and is no {kind} of the kernel's"
            ),
        });
    }
    captured(&signature.btf, kind, what)?;
    Ok(Read { kind, note, contradicts })
}

/// Refuses buffers without a length.
fn bounded(kind: TypeName, argument: &Argument, value: &Value) -> Result<(), String> {
    let array = value.resolved.as_ref().is_some_and(|resolved| {
        resolved.size > 0 && matches!(resolved.shape, Shape::Text | Shape::Other)
    });
    let sized = argument.size_argument.is_some() || argument.return_copy || array;
    match kind {
        TypeName::CharBuf | TypeName::CharIovec if !sized => Err(format!(
            "{} is read as {kind}, which needs a length: give sizeArgIndex (counted from 1)",
            value.what
        )),
        _ => Ok(()),
    }
}
