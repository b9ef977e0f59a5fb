//! From a value along the fields that `resolve` names.

use super::shape::Shape;
use super::signature::sole_member;
use kernel::btf::{Btf, Hop, Kind, TypeId};
use policy::checked::FieldStep;
use std::fmt::Write as _;
use std::sync::Arc;

/// Where a path of fields leads.
pub(super) struct Resolved {
    /// The path, as policies write it.
    pub(super) text: String,
    /// Its loads.
    pub(super) hops: Vec<Hop>,
    /// What is there.
    pub(super) shape: Shape,
    /// Its type as C writes it.
    pub(super) ty: String,
    /// Bytes of it, where it is in place.
    pub(super) size: u32,
}

/// The path as policies write it.
pub(super) fn text(steps: &[FieldStep]) -> String {
    let mut text = String::new();
    for step in steps {
        let dot = if text.is_empty() { "" } else { "." };
        // Writing to a string does not fail.
        let _ = match step {
            FieldStep::Member(name) => write!(text, "{dot}{name}"),
            FieldStep::Element(index) => write!(text, "[{index}]"),
        };
    }
    text
}

/// Follows a path from an object of type `start`, or from a pointer to one. A number that is all that
/// a structure at its end holds is taken instead of it (`cred.uid` for `cred.uid.val`), if `number`
/// says that a number is wanted or the structure is none that policies know.
pub(super) fn follow(
    btf: &Btf,
    start: TypeId,
    steps: &[FieldStep],
    number: bool,
) -> Result<Resolved, String> {
    let mut text = text(steps);
    loop {
        let hops = btf.path(start, &text).map_err(|error| error.to_string())?;
        let Some(last) = hops.last() else { return Err("the path is empty".to_owned()) };
        let shape = match last.bits {
            None => Shape::of(btf, last.ty),
            // Bits are taken out without their sign.
            Some(_) => match Shape::of(btf, last.ty) {
                Shape::Integer { size, .. } => {
                    Shape::Integer { size, signed: false, size_t: false }
                }
                other => other,
            },
        };
        let unknown = shape.inferred(false).is_none();
        if let (Shape::Object(_), true) = (&shape, number || unknown)
            && let Some((member, inner)) = sole_member(btf, last.ty)
            && Shape::of(btf, inner).is_integer()
        {
            // Writing to a string does not fail.
            let _ = write!(text, ".{member}");
            continue;
        }
        let (ty, size) = (btf.display(last.ty), last.size);
        return Ok(Resolved { text, hops, shape, ty, size });
    }
}

/// The structure that `btfType` names, in the kernel or in a module.
pub(super) fn structure(
    base: &Arc<Btf>,
    name: &str,
    module: Option<&str>,
) -> Result<(Arc<Btf>, TypeId), String> {
    let btf = match module {
        None | Some("vmlinux") => base.clone(),
        Some(module) => Arc::new(
            Btf::module(base.clone(), module)
                .map_err(|error| format!("types of module `{module}`: {error}"))?,
        ),
    };
    let plain = name.strip_prefix("struct ").or_else(|| name.strip_prefix("union "));
    let plain = plain.unwrap_or(name).trim();
    let typedef = || btf.find(Kind::Typedef, plain).filter(|id| btf.is_composite(*id));
    if let Some(id) = btf.find_struct(plain).ok().or_else(typedef) {
        return Ok((btf, id));
    }
    let known = btf.of_kind(Kind::Struct).map(|id| btf.name(id));
    let near = known.filter(|known| known.len().abs_diff(plain.len()) <= 3);
    let hint = policy::did_you_mean(plain, near)
        .map(|near| format!(": did you mean `{near}`?"))
        .unwrap_or_default();
    let whose =
        module.map_or_else(|| "this kernel".to_owned(), |module| format!("module {module}"));
    Err(format!("{whose} has no structure `{plain}`{hint}"))
}
