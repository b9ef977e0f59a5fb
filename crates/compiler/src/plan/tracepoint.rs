//! Hooks on tracepoints: by perf's record, or raw with typed arguments.

use super::attachment::lacks;
use super::input::captured;
use super::planner::{Found, Inputs, Planner};
use super::shape::Shape;
use super::signature::Signature;
use super::{Attachment, EventKind, Input, Length, Source};
use kernel::btf::{Btf, BtfError, Kind};
use kernel::features::Feature;
use kernel::tracefs::{EventField, EventFormat, Location, TracefsError};
use policy::checked::{Argument, Hook, ValueKind};
use policy::document::TypeName;

impl Planner<'_> {
    /// Hooks a tracepoint by the record that it writes for perf.
    pub(super) fn tracepoint(&mut self, hook: &Hook, subsystem: &str, event: &str) {
        let machine = self.machine;
        if let Err(why) = lacks(machine, Feature::Tracepoint) {
            let message = format!(
                "this kernel lets no programs run on the records of tracepoints ({why}): `raw: true` \
                 gives the arguments instead"
            );
            return self.error(&hook.place, message);
        }
        let Some(tracefs) = &machine.tracefs else {
            return self.error(&hook.place, TracefsError::NotMounted.to_string());
        };
        let format = match tracefs.event(subsystem, event) {
            Ok(format) => format,
            Err(TracefsError::NoEvent { .. }) => {
                let events = tracefs.events(subsystem).unwrap_or_default();
                let message = match events.as_slice() {
                    [] => {
                        let known = tracefs.subsystems().unwrap_or_default();
                        let near =
                            policy::did_you_mean(subsystem, known.iter().map(String::as_str));
                        format!(
                            "this kernel has no tracepoints of subsystem `{subsystem}`{}",
                            question(near)
                        )
                    }
                    events => format!(
                        "this kernel has no tracepoint `{subsystem}/{event}`{}",
                        question(policy::did_you_mean(event, events.iter().map(String::as_str)))
                    ),
                };
                return self.error(&hook.place, message);
            }
            Err(error) => return self.error(&hook.place, error.to_string()),
        };
        let before = self.problems();
        let args = hook.args.iter().filter_map(|argument| self.field(argument, &format)).collect();
        if self.problems() > before {
            return;
        }
        let found = Found {
            event: EventKind::Tracepoint { subsystem: subsystem.into(), event: event.into() },
            attachment: Attachment::Tracepoint {
                subsystem: subsystem.into(),
                event: event.into(),
                id: format.id,
            },
            reason: "perf's record, whose fields the policy numbers".to_owned(),
        };
        self.add(hook, found, Inputs { args, data: Vec::new(), returned: None });
    }

    fn field(&mut self, argument: &Argument, format: &EventFormat) -> Option<Input> {
        let read = read(self, argument, format);
        let length = argument.size_argument.map(|index| {
            let field = field_at(index, format)?;
            match field.array.is_none() && !field.ty.ends_with('*') {
                true => Ok(Length { source: source(field, field.size), size: field.size }),
                false => Err(format!("`{} {}` is no length", field.ty, field.name)),
            }
        });
        let wrong = |index: u32, message| format!("sizeArgIndex {}: {message}", index + 1);
        let index = argument.size_argument.unwrap_or_default();
        match (read, length.transpose().map_err(|message| wrong(index, message))) {
            (Ok((kind, source)), Ok(length)) => Some(Input {
                place: argument.place.clone(),
                kind,
                label: argument.label.clone(),
                source,
                resolve: String::new(),
                hops: Vec::new(),
                length: length.filter(|_| kind == TypeName::CharBuf),
                return_copy: false,
                max_data: argument.max_data,
            }),
            (read, length) => {
                for message in read.err().into_iter().chain(length.err()) {
                    self.error(&argument.place, message);
                }
                None
            }
        }
    }

    /// Hooks a tracepoint by the arguments that the kernel passes to it.
    pub(super) fn raw_tracepoint(&mut self, hook: &Hook, subsystem: &str, event: &str) {
        let machine = self.machine;
        if let Err(why) = lacks(machine, Feature::TpBtf) {
            let message = format!("this kernel has no typed tracepoints ({why})");
            return self.error(&hook.place, message);
        }
        let btf = &machine.btf;
        let typedef = format!("btf_trace_{event}");
        let prototype = match btf.tracepoint_prototype(event) {
            Ok(prototype) => prototype,
            Err(BtfError::NoTracepoint(_)) => {
                let known = btf
                    .of_kind(Kind::Typedef)
                    .filter_map(|id| btf.name(id).strip_prefix("btf_trace_"));
                let near = question(policy::did_you_mean(event, known));
                let message = format!("this kernel has no tracepoint `{event}`{near}");
                return self.error(&hook.place, message);
            }
            Err(error) => return self.error(&hook.place, error.to_string()),
        };
        let Some(id) = btf.find(Kind::Typedef, &typedef) else {
            return self.error(&hook.place, format!("this kernel has no tracepoint `{event}`"));
        };
        let params: Vec<String> =
            prototype.params.iter().map(|param| btf.declaration(param.ty, &param.name)).collect();
        let text = format!("{event}({})", params.join(", "));
        let signature = Signature::of(btf.clone(), text, &prototype);
        let found = Found {
            event: EventKind::Tracepoint { subsystem: subsystem.into(), event: event.into() },
            attachment: Attachment::RawTracepoint { name: event.to_owned(), id },
            reason: "a typed tracepoint, because the policy says `raw: true`".to_owned(),
        };
        if let Some(inputs) = self.inputs(hook, &signature, &found.attachment) {
            self.add(hook, found, inputs);
        }
    }
}

fn question(near: Option<&str>) -> String {
    near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default()
}

/// The field of a number, those that all records have counted.
fn field_at(index: u32, format: &EventFormat) -> Result<&EventField, String> {
    let fields = || {
        let name = |(at, field): (usize, &EventField)| format!("{at} {}", field.name);
        let readable = format.fields.iter().enumerate().filter(|(_, field)| is_readable(field));
        readable.map(name).collect::<Vec<_>>().join(", ")
    };
    let name = &format.name;
    match format.fields.get(index as usize) {
        None => Err(format!("`{name}` has no field {index}: it has {}", fields())),
        Some(field) if !is_readable(field) => Err(format!(
            "programs do not see field {index} (`{}`) of `{name}`: they see {}",
            field.name,
            fields()
        )),
        Some(field) => Ok(field),
    }
}

/// Whether programs see a field: in place of the first eight bytes, which are the same in all records,
/// there is something of the kernel's (`tp_prog_is_valid_access` in kernel/trace/bpf_trace.c).
pub(super) fn is_readable(field: &EventField) -> bool {
    field.offset >= 8
}

fn source(field: &EventField, element: u32) -> Source {
    Source::Field {
        offset: field.offset,
        size: field.size,
        signed: field.signed,
        location: field.location,
        array: field.array.is_some(),
        element,
    }
}

/// What a field holds, as far as policies tell types apart.
pub(super) struct Value {
    /// The field.
    shape: Shape,
    /// An element of it; of a field that is no array, itself.
    element: Shape,
    /// Bytes of an element.
    element_size: u32,
}

impl Value {
    pub(super) fn of(btf: &Btf, field: &EventField) -> Self {
        let array = field.array.is_some();
        let element = Shape::of_c(btf, &field.ty);
        let element_size = match &element {
            Shape::Integer { size, .. } => *size,
            _ => 8,
        };
        let shape = match (field.location, array) {
            (Location::Direct, false) => Shape::of_text(btf, &field.ty, field.size, field.signed),
            _ if matches!(element, Shape::Integer { size: 1, .. })
                && field.ty.ends_with("char") =>
            {
                Shape::Text
            }
            _ => Shape::Other,
        };
        Self { shape, element, element_size }
    }

    /// The policies' type that says best what a field is that programs see.
    pub(super) fn kind(&self, field: &EventField) -> Option<TypeName> {
        inferred(&self.shape, &self.element, field.array.is_some(), false)
    }
}

/// The policies' type that says best what a field is. Arrays are read whole: bytes as such, of numbers
/// each.
fn inferred(shape: &Shape, element: &Shape, array: bool, sized: bool) -> Option<TypeName> {
    match (shape, element) {
        (Shape::Other, Shape::Integer { size: 1, .. }) if array => Some(TypeName::CharBuf),
        (Shape::Other, Shape::Integer { .. }) if array => Some(TypeName::ConstBuf),
        _ => shape.inferred(sized),
    }
}

/// How a field is read, and from where.
fn read(
    planner: &mut Planner<'_>,
    argument: &Argument,
    format: &EventFormat,
) -> Result<(TypeName, Source), String> {
    let field = field_at(argument.index, format)?;
    let btf = &planner.machine.btf;
    let array = field.array.is_some();
    let Value { shape, element, element_size } = Value::of(btf, field);
    let what = format!("field {} (`{} {}`)", argument.index, field.ty, field.name);
    let declared = match argument.kind {
        TypeName::DataLoc if field.location == Location::Direct => {
            return Err(format!("{what} is no data_loc: leave the type out"));
        }
        // What the record holds elsewhere is text as any other.
        TypeName::DataLoc => TypeName::String,
        kind => kind,
    };
    let number = matches!(declared.kind(), ValueKind::Integer(_));
    let (kind, source) = match declared {
        TypeName::Auto => {
            let kind = inferred(&shape, &element, array, argument.size_argument.is_some());
            let kind = kind.ok_or_else(|| {
                format!("{what} is of a type that no type stands for: give a `type`")
            })?;
            return Ok((kind, source(field, element_size)));
        }
        kind if shape == Shape::Other && number && field.location == Location::Direct => {
            let message = format!("{what} is an array: its first element is taken");
            planner.note(&argument.place, message);
            let (offset, signed) = (field.offset, field.signed);
            let (location, array) = (Location::Direct, false);
            let size = element_size.min(field.size);
            (kind, Source::Field { offset, size, signed, location, array, element: size })
        }
        kind if shape.fits(kind) => (kind, source(field, element_size)),
        kind => {
            let hint = match shape.inferred(false) {
                Some(inferred) => format!(": write `type: {inferred}`"),
                None => String::new(),
            };
            return Err(format!("{what} is no {kind}{hint}"));
        }
    };
    if kind == TypeName::CharBuf && argument.size_argument.is_none() {
        return Err(format!("{what} is read as char_buf, which needs a length: give sizeArgIndex"));
    }
    captured(btf, kind, &what)?;
    Ok((kind, source))
}
