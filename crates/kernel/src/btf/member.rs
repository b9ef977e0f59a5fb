//! Where the members of structs stand.
//!
//! Two questions are answered here. [`Btf::field`]: at which offset in one object is a member, across
//! anonymous structs and unions, embedded structs and array elements. [`Btf::path`]: which loads does
//! it take to get from an object to something behind pointers. Bitfields come in two forms, with the
//! width in the member's record (`kind_flag`) or in a special integer type; both are read.

use std::collections::VecDeque;

use super::path::{Path, Step};
use super::{Btf, BtfError, Kind, Type, TypeId};

/// Anonymous structs looked into for one member: the kernel's `task_struct` has some 50. It bounds walks
/// in hostile data, where a struct can contain itself.
const MAX_INSIDE: u32 = 10_000;

/// Where a bitfield stands in the integer that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BitField {
    /// How far to shift the loaded integer right, in bits, counted from its least significant one.
    pub offset: u32,
    /// Width in bits.
    pub size: u32,
}

/// Address-space marks of the kernel's `__user`, `__rcu` and `__percpu`, on what a pointer points to.
/// Kernels built by a compiler without `btf_type_tag` (GCC before 16) carry none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Memory of the process.
    pub user: bool,
    /// Protected by RCU: from Linux 6.2 on, programs get it as a pointer that may be null.
    pub rcu: bool,
    /// An offset that is added to a CPU's own base.
    pub percpu: bool,
}

/// A member, in the object that the question started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset in bytes. For a bitfield, of the integer to load, which is aligned to its size.
    pub offset: u32,
    /// Type, as declared: not peeled.
    pub ty: TypeId,
    /// Size in bytes; for a bitfield, of the integer to load; 0 for a flexible array.
    pub size: u32,
    /// Set for a bitfield: which bits of the integer.
    pub bits: Option<BitField>,
    /// Marks on the pointer, if it is one.
    pub tags: Tags,
}

/// One load on the way along a path. The first is relative to the object that the path starts from,
/// each later one to the pointer that the one before loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Offset in bytes; for a bitfield, of the integer to load.
    pub offset: u32,
    /// Bytes to load: 8 in every hop but the last, which may also be a whole struct or array.
    pub size: u32,
    /// Type, as declared: not peeled.
    pub ty: TypeId,
    /// If what is loaded is a pointer: what it points to, peeled.
    pub pointee: Option<TypeId>,
    /// Set for a bitfield: which bits of the integer.
    pub bits: Option<BitField>,
    /// Marks on the pointer, if it is one.
    pub tags: Tags,
    /// Whether it is a structure, a union or an array, which is not loaded: its address is meant.
    pub in_place: bool,
}

/// A place in an object, in bits, as it is found step by step.
#[derive(Clone, Copy)]
struct Place {
    bit_offset: u64,
    ty: TypeId,
    bit_size: Option<u8>,
}

impl Btf {
    /// Finds a member in one object of type `container`. The path crosses anonymous and embedded
    /// structs and unions and elements of arrays (`comm`, `se.load.weight`, `subsys[4]`), not
    /// pointers: see [`Btf::path`]. An element of a flexible array may have any index.
    pub fn field(&self, container: TypeId, path: &str) -> Result<Field, BtfError> {
        let path = Path::parse(path)?;
        let mut place = Place { bit_offset: 0, ty: container, bit_size: None };
        for (step, before) in path.steps() {
            place = self.step(place, step, &path, before)?;
        }
        self.finish(place)
    }

    /// Whether [`Btf::field`] would find something.
    pub fn member_exists(&self, container: TypeId, path: &str) -> bool {
        self.field(container, path).is_ok()
    }

    /// Follows a path from an object of type `start`, or from a pointer to one, through pointers:
    /// `mm.exe_file.f_path.dentry`. Every hop but the last loads a pointer that the next starts from;
    /// members in one object make one hop. Indexing a pointer takes it as an array's start.
    pub fn path(&self, start: TypeId, path: &str) -> Result<Vec<Hop>, BtfError> {
        let path = Path::parse(path)?;
        let object = self.pointee(start).unwrap_or(start);
        let mut place = Place { bit_offset: 0, ty: object, bit_size: None };
        let mut hops = Vec::new();
        for (step, before) in path.steps() {
            match (self.pointee(place.ty), step) {
                (Some(object), Step::Member(_)) => {
                    hops.push(self.hop(place)?);
                    let place_behind = Place { bit_offset: 0, ty: object, bit_size: None };
                    place = self.step(place_behind, step, &path, before)?;
                }
                (Some(element), Step::Index(index)) => {
                    hops.push(self.hop(place)?);
                    place = self.element(0, element, index, &path)?;
                }
                (None, _) => place = self.step(place, step, &path, before)?,
            }
        }
        hops.push(self.hop(place)?);
        Ok(hops)
    }

    /// Whether a type is a struct or union, behind typedefs and qualifiers.
    pub fn is_composite(&self, id: TypeId) -> bool {
        matches!(self.kind(self.peel(id)), Kind::Struct | Kind::Union)
    }

    /// What a pointer type points to, peeled; `None` for other types.
    pub fn pointee(&self, id: TypeId) -> Option<TypeId> {
        match self.ty(self.peel(id)) {
            Ok(Type::Pointer { to }) => Some(self.peel(to)),
            _ => None,
        }
    }

    /// The marks on a pointer type: those among its qualifiers and on what it points to.
    pub fn tags(&self, id: TypeId) -> Tags {
        let mut tags = Tags::default();
        let mut crossed = false;
        let mut id = id;
        loop {
            id = match self.ty(id) {
                Ok(Type::TypeTag { tag, ty }) => {
                    match tag {
                        "user" => tags.user = true,
                        "rcu" => tags.rcu = true,
                        "percpu" => tags.percpu = true,
                        _ => {}
                    }
                    ty
                }
                Ok(
                    Type::Typedef { ty, .. }
                    | Type::Const { ty }
                    | Type::Volatile { ty }
                    | Type::Restrict { ty },
                ) => ty,
                Ok(Type::Pointer { to }) if !crossed => {
                    crossed = true;
                    to
                }
                _ => break,
            };
        }
        if crossed { tags } else { Tags::default() }
    }

    fn step(
        &self,
        from: Place,
        step: Step<'_>,
        path: &Path<'_>,
        before: &str,
    ) -> Result<Place, BtfError> {
        let ty = self.peel(from.ty);
        match (step, self.ty(ty)?) {
            (Step::Member(name), Type::Struct(_) | Type::Union(_)) => {
                let found = self.member(ty, name)?;
                let found = found.ok_or_else(|| self.no_member(ty, name))?;
                Ok(Place { bit_offset: from.bit_offset + found.bit_offset, ..found })
            }
            (Step::Index(index), Type::Array { element, length, .. }) => {
                if index >= length && length != 0 {
                    let (path, ty) = (path.text.into(), self.display(from.ty));
                    return Err(BtfError::OutOfBounds { path, index, ty });
                }
                self.element(from.bit_offset, element, index, path)
            }
            (Step::Member(_), other) => Err(BtfError::NotComposite {
                path: path.text.into(),
                at: before.into(),
                ty: self.display(from.ty),
                pointer: matches!(other, Type::Pointer { .. }),
            }),
            (Step::Index(_), _) => Err(BtfError::NotArray {
                path: path.text.into(),
                at: before.into(),
                ty: self.display(from.ty),
            }),
        }
    }

    /// Element `index` of an array that starts at `bit_offset`.
    fn element(
        &self,
        bit_offset: u64,
        element: TypeId,
        index: u32,
        path: &Path<'_>,
    ) -> Result<Place, BtfError> {
        let bits = u64::from(self.size_of(element)?) * 8 * u64::from(index);
        // Offsets are bytes in a u32; nothing the kernel has comes near.
        if bit_offset + bits > u64::from(u32::MAX) {
            let (path, ty) = (path.text.into(), self.display(element));
            return Err(BtfError::OutOfBounds { path, index, ty });
        }
        Ok(Place { bit_offset: bit_offset + bits, ty: element, bit_size: None })
    }

    /// A member by name, also in anonymous members, with its place in the container.
    fn member(&self, ty: TypeId, name: &str) -> Result<Option<Place>, BtfError> {
        // Breadth first, so that no nesting can exhaust the stack.
        let mut inside = VecDeque::from([(ty, 0_u64)]);
        for _ in 0..MAX_INSIDE {
            let Some((ty, start)) = inside.pop_front() else { return Ok(None) };
            let (Type::Struct(composite) | Type::Union(composite)) = self.ty(ty)? else {
                continue;
            };
            for member in composite.members() {
                let bit_offset = start + u64::from(member.bit_offset);
                if member.name == name {
                    return Ok(Some(Place {
                        bit_offset,
                        ty: member.ty,
                        bit_size: member.bit_size,
                    }));
                }
                if member.name.is_empty() {
                    inside.push_back((self.peel(member.ty), bit_offset));
                }
            }
        }
        Err(BtfError::TooDeep(self.display(ty)))
    }

    fn no_member(&self, ty: TypeId, name: &str) -> BtfError {
        let mut scored: Vec<_> = self
            .member_names(ty)
            .into_iter()
            .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
            .filter(|(score, _)| *score > 0.75)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        BtfError::NoMember {
            container: self.display(ty),
            member: name.into(),
            similar: scored.into_iter().take(3).map(|(_, name)| name.into()).collect(),
        }
    }

    /// Names of the members of a struct or union, those in its anonymous members included.
    pub fn member_names(&self, ty: TypeId) -> Vec<&str> {
        let mut names = Vec::new();
        let mut inside = VecDeque::from([self.peel(ty)]);
        for _ in 0..MAX_INSIDE {
            let Some(ty) = inside.pop_front() else { break };
            let Ok(Type::Struct(composite) | Type::Union(composite)) = self.ty(ty) else {
                continue;
            };
            for member in composite.members() {
                match member.name {
                    "" => inside.push_back(self.peel(member.ty)),
                    name => names.push(name),
                }
            }
        }
        names
    }

    fn hop(&self, place: Place) -> Result<Hop, BtfError> {
        let Field { offset, ty, size, bits, tags } = self.finish(place)?;
        let array = self.kind(self.peel(ty)) == Kind::Array;
        let in_place = array || self.is_composite(self.peel(ty));
        Ok(Hop { offset, size, ty, pointee: self.pointee(ty), bits, tags, in_place })
    }

    /// Turns a place in bits into what has to be loaded.
    fn finish(&self, place: Place) -> Result<Field, BtfError> {
        let Place { bit_offset, ty, bit_size } = place;
        let tags = self.tags(ty);
        let size = self.size_of(ty)?;
        // The older form: an integer type narrower than its size, or not at its start.
        let (first, width) = match (bit_size, self.ty(self.peel(ty))?) {
            (Some(width), _) => (bit_offset, u64::from(width)),
            (None, Type::Int(int))
                if u32::from(int.bits) != size.saturating_mul(8) || int.bit_offset != 0 =>
            {
                (bit_offset + u64::from(int.bit_offset), u64::from(int.bits))
            }
            (None, _) => {
                let offset = (bit_offset / 8) as u32;
                return Ok(Field { offset, ty, size, bits: None, tags });
            }
        };
        // The integer of the declared type that holds the bits; where they cross its end (packed
        // structs), a larger one, as aligned loads need.
        let mut unit = u64::from(size.clamp(1, 8).next_power_of_two());
        loop {
            let start = first / (unit * 8) * unit;
            let end = first + width - start * 8;
            if end <= unit * 8 {
                let from_start = first - start * 8;
                let shift = if cfg!(target_endian = "big") { unit * 8 - end } else { from_start };
                let bits = BitField { offset: shift as u32, size: width as u32 };
                return Ok(Field {
                    offset: start as u32,
                    ty,
                    size: unit as u32,
                    bits: Some(bits),
                    tags,
                });
            }
            if unit >= 8 {
                return Err(BtfError::NoSize(self.display(ty)));
            }
            unit *= 2;
        }
    }
}
