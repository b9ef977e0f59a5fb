//! What a place that a hook attaches to takes and gives.

use super::shape::Shape;
use kernel::btf::{Btf, Kind, Prototype, Type, TypeId};
use kernel::tracefs::EventFormat;
use std::sync::Arc;

/// How many arguments the emitter finds in registers: of functions and of system calls.
pub(super) const REGISTERS: usize = 6;

/// What a function, system call, LSM hook or tracepoint takes and gives.
pub(super) struct Signature {
    /// The types that `params` are of: the kernel's, or a module's on top of them.
    pub(super) btf: Arc<Btf>,
    /// As C declares it, for messages; the name alone where that is all that is known.
    pub(super) text: String,
    /// What it takes; `None` where that is not known.
    pub(super) params: Option<Vec<Parameter>>,
    /// What it gives; `None` where that is not known.
    pub(super) result: Option<Parameter>,
    /// Whether the verifier knows the types of pointers.
    pub(super) typed: bool,
    /// Where arguments come from, and pointers lead to.
    pub(super) origin: Origin,
    /// How many arguments can be read; `None`: all.
    pub(super) readable: Option<usize>,
}

/// Who passes arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A function of the kernel's.
    Kernel,
    /// The caller of a system call.
    Syscall,
    /// A function of a program.
    Program,
}

/// A value that a function takes or gives.
#[derive(Clone)]
pub(super) struct Parameter {
    /// Its type in BTF, where that is where it comes from.
    pub(super) ty: Option<TypeId>,
    /// What it is.
    pub(super) shape: Shape,
    /// Its type as C writes it.
    pub(super) text: String,
}

impl Signature {
    /// Of a function in BTF.
    pub(super) fn of(btf: Arc<Btf>, text: String, prototype: &Prototype) -> Self {
        let parameter = |ty| Parameter::of(&btf, ty);
        let params = prototype.params.iter().map(|param| parameter(param.ty)).collect();
        let result = Some(parameter(prototype.ret));
        Self {
            text,
            params: Some(params),
            result,
            typed: true,
            origin: Origin::Kernel,
            readable: None,
            btf,
        }
    }

    /// Of a function of which only the name is known.
    pub(super) fn unknown(btf: Arc<Btf>, name: &str) -> Self {
        Self {
            btf,
            text: name.to_owned(),
            params: None,
            result: None,
            typed: false,
            origin: Origin::Kernel,
            readable: Some(REGISTERS),
        }
    }

    /// Of a system call whose tracepoint tracefs describes: its fields after the number.
    pub(super) fn of_format(btf: Arc<Btf>, call: &str, format: &EventFormat) -> Self {
        let mut params = Vec::new();
        let mut texts = Vec::new();
        for field in format.own_fields().filter(|field| field.name != "__syscall_nr") {
            // Each takes eight bytes whatever its type, and all are told to be unsigned.
            let ty = Shape::of_c(&btf, &field.ty);
            texts.push(format!("{} {}", field.ty, field.name));
            params.push(Parameter { ty: None, shape: ty, text: field.ty.clone() });
        }
        let text = format!("long sys_{call}({})", texts.join(", "));
        let result = Shape::Integer { size: 8, signed: true, size_t: false };
        let result = Some(Parameter { ty: None, shape: result, text: "long".into() });
        Self { params: Some(params), result, text, ..Self::unknown(btf, call) }
    }

    /// The structure that an argument points to, where the verifier knows that.
    pub(super) fn pointee(&self, ty: Option<TypeId>) -> Option<TypeId> {
        let ty = ty.filter(|_| self.typed)?;
        // Pointers to memory of the process or of each CPU are not followed by plain loads.
        let tags = self.btf.tags(ty);
        self.btf.pointee(ty).filter(|to| {
            matches!(self.btf.kind(*to), Kind::Struct | Kind::Union) && !tags.user && !tags.percpu
        })
    }
}

impl Signature {
    /// Whether an argument is a pointer that the verifier does not let programs load.
    pub(super) fn hides(&self, ty: Option<TypeId>) -> bool {
        let Some(ty) = ty.filter(|_| self.typed) else { return false };
        let Ok(Type::Pointer { to }) = self.btf.ty(self.btf.peel(ty)) else { return false };
        let known =
            matches!(self.btf.kind(self.btf.peel(to)), Kind::Struct | Kind::Union | Kind::Int);
        // Without `const` it is the verifier's `void`.
        !known && self.btf.kind(to) != Kind::Void
    }
}

impl Parameter {
    /// Of a type in BTF.
    pub(super) fn of(btf: &Btf, ty: TypeId) -> Self {
        let text = btf.display(ty);
        match (Shape::of(btf, ty), wrapped(btf, ty)) {
            // In a register it is what it holds, as `kuid_t`.
            (Shape::Object(_), Some(inner)) => {
                Self { ty: Some(inner), shape: Shape::of(btf, inner), text }
            }
            (shape, _) => Self { ty: Some(ty), shape, text },
        }
    }

    /// Whether it is a structure in place.
    pub(super) fn is_object(&self) -> bool {
        matches!(self.shape, Shape::Object(_))
    }
}

/// The number that is all that a structure holds, as in `kuid_t`.
pub(super) fn wrapped(btf: &Btf, ty: TypeId) -> Option<TypeId> {
    let (_, member) = sole_member(btf, ty)?;
    Shape::of(btf, member).is_integer().then_some(member)
}

/// Name and type of the only member of a structure.
pub(super) fn sole_member(btf: &Btf, ty: TypeId) -> Option<(&str, TypeId)> {
    let Ok(Type::Struct(composite)) = btf.ty(btf.peel(ty)) else { return None };
    let mut members = composite.members();
    let first = members.next().filter(|first| !first.name.is_empty())?;
    members.next().is_none().then_some((first.name, first.ty))
}
