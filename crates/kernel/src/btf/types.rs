//! What a type is: the decoded form of one BTF record.
//!
//! A [`Type`] borrows from the [`Btf`](super::Btf) it came from; members, parameters and enumerators
//! are decoded as they are iterated over.

use std::fmt;

use super::format::{flag_of, u32_at};
use super::{Btf, TypeId};

/// The kinds of BTF records, with the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // C's own kinds of types
pub enum Kind {
    /// Type 0, which has no record.
    Void = 0,
    Int = 1,
    Pointer = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    /// A struct or union that is only declared.
    Forward = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    DataSection = 15,
    Float = 16,
    /// `__attribute__((btf_decl_tag("...")))` on a declaration.
    DeclTag = 17,
    /// `__attribute__((btf_type_tag("...")))` on what a pointer points to.
    TypeTag = 18,
    /// An enum whose values need 64 bits.
    Enum64 = 19,
}

impl Kind {
    pub(super) const COUNT: usize = 20;

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Int,
            2 => Self::Pointer,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Forward,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::DataSection,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            _ => return None,
        })
    }

    /// Kinds that say something about another type and have its size and members.
    pub(super) fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Void => "void",
            Self::Int => "integer type",
            Self::Pointer => "pointer",
            Self::Array => "array",
            Self::Struct => "struct",
            Self::Union => "union",
            Self::Enum | Self::Enum64 => "enum",
            Self::Forward => "declared struct",
            Self::Typedef => "typedef",
            Self::Volatile => "volatile type",
            Self::Const => "const type",
            Self::Restrict => "restrict type",
            Self::Func => "function",
            Self::FuncProto => "function prototype",
            Self::Var => "variable",
            Self::DataSection => "data section",
            Self::Float => "floating-point type",
            Self::DeclTag => "declaration tag",
            Self::TypeTag => "type tag",
        })
    }
}

/// One type.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // fields named as in C
pub enum Type<'a> {
    Void,
    Int(Int<'a>),
    Pointer {
        to: TypeId,
    },
    Array {
        element: TypeId,
        index: TypeId,
        length: u32,
    },
    Struct(Composite<'a>),
    Union(Composite<'a>),
    Enum(Enum<'a>),
    Forward {
        name: &'a str,
        union: bool,
    },
    Typedef {
        name: &'a str,
        ty: TypeId,
    },
    Volatile {
        ty: TypeId,
    },
    Const {
        ty: TypeId,
    },
    Restrict {
        ty: TypeId,
    },
    Func {
        name: &'a str,
        prototype: TypeId,
    },
    FuncProto(FuncProto<'a>),
    Var {
        name: &'a str,
        ty: TypeId,
    },
    DataSection(DataSection<'a>),
    Float {
        name: &'a str,
        size: u32,
    },
    /// `component` counts members or parameters; `None` is the declaration as a whole.
    DeclTag {
        tag: &'a str,
        ty: TypeId,
        component: Option<u32>,
    },
    TypeTag {
        tag: &'a str,
        ty: TypeId,
    },
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<'a> {
    /// Name, as `unsigned int`.
    pub name: &'a str,
    /// Bytes it takes in memory.
    pub size: u32,
    /// Bits that count; fewer than the size has only where an old compiler described a bitfield.
    pub bits: u8,
    /// First of these bits, likewise.
    pub bit_offset: u8,
    /// Signed.
    pub signed: bool,
    /// Meant as a character. Compilers rarely say so: C's `char` has this unset in most kernels.
    pub char: bool,
    /// `bool`.
    pub bool: bool,
}

/// A struct or union.
#[derive(Clone, Copy, Debug)]
pub struct Composite<'a> {
    /// Name; empty for an anonymous one.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u32,
    records: Records<'a, 12>,
    bitfields: bool,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Name; empty for an anonymous struct or union, whose members count as the container's.
    pub name: &'a str,
    /// Type.
    pub ty: TypeId,
    /// Offset from the start of the container, in bits.
    pub bit_offset: u32,
    /// Width in bits, where the record itself says it is a bitfield. An old compiler says so in the
    /// member's [`Int`]; [`Btf::field`] knows both forms.
    pub bit_size: Option<u8>,
}

/// An enum of either width.
#[derive(Clone, Copy, Debug)]
pub struct Enum<'a> {
    /// Name; empty for an anonymous one.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u32,
    /// Has negative values.
    pub signed: bool,
    values: EnumValues<'a>,
}

#[derive(Clone, Copy, Debug)]
enum EnumValues<'a> {
    Narrow(Records<'a, 8>),
    Wide(Records<'a, 12>),
}

/// What a function takes and gives.
#[derive(Clone, Copy, Debug)]
pub struct FuncProto<'a> {
    /// Type of the result; void is type 0.
    pub ret: TypeId,
    records: Records<'a, 8>,
}

/// A section of variables, as `.data..percpu`.
#[derive(Clone, Copy, Debug)]
pub struct DataSection<'a> {
    /// Name.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u32,
    records: Records<'a, 12>,
}

/// A variable in a [`DataSection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionVariable {
    /// The variable.
    pub var: TypeId,
    /// Offset from the start of the section, in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// The tail of a record: a run of entries of `N` bytes.
#[derive(Clone, Copy)]
struct Records<'a, const N: usize> {
    btf: &'a Btf,
    bytes: &'a [u8],
}

impl<const N: usize> fmt::Debug for Records<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.bytes.len() / N)
    }
}

impl<'a, const N: usize> Records<'a, N> {
    fn iter(self) -> impl ExactSizeIterator<Item = Words<'a>> {
        let btf = self.btf;
        self.bytes.chunks_exact(N).map(move |bytes| Words { btf, bytes })
    }
}

/// One entry of a record's tail.
struct Words<'a> {
    btf: &'a Btf,
    bytes: &'a [u8],
}

impl<'a> Words<'a> {
    fn u32(&self, index: usize) -> u32 {
        u32_at(self.bytes, 4 * index)
    }

    fn name(&self) -> &'a str {
        self.btf.string(self.u32(0))
    }
}

impl<'a> Composite<'a> {
    /// The members in the order in which they stand.
    pub fn members(self) -> impl ExactSizeIterator<Item = Member<'a>> {
        self.records.iter().map(move |words| {
            let place = words.u32(2);
            // With the record's flag set, the upper 8 bits of a place are a bitfield's width.
            let (bit_offset, bits) = match self.bitfields {
                true => (place & 0x00ff_ffff, (place >> 24) as u8),
                false => (place, 0),
            };
            Member {
                name: words.name(),
                ty: TypeId(words.u32(1)),
                bit_offset,
                bit_size: (bits != 0).then_some(bits),
            }
        })
    }
}

impl<'a> Enum<'a> {
    /// Names and values. A value of an unsigned 64-bit enum above `i64::MAX` wraps.
    pub fn values(self) -> impl Iterator<Item = (&'a str, i64)> {
        let signed = self.signed;
        let narrow = match self.values {
            EnumValues::Narrow(records) => Some(records.iter().map(move |words| {
                let value = words.u32(1);
                let value = if signed { i64::from(value as i32) } else { i64::from(value) };
                (words.name(), value)
            })),
            EnumValues::Wide(_) => None,
        };
        let wide = match self.values {
            EnumValues::Wide(records) => Some(records.iter().map(|words| {
                let value = u64::from(words.u32(2)) << 32 | u64::from(words.u32(1));
                (words.name(), value as i64)
            })),
            EnumValues::Narrow(_) => None,
        };
        narrow.into_iter().flatten().chain(wide.into_iter().flatten())
    }
}

impl<'a> FuncProto<'a> {
    /// Names (often empty) and types of the parameters. A last one of type 0 stands for `...`.
    pub fn params(self) -> impl ExactSizeIterator<Item = (&'a str, TypeId)> {
        self.records.iter().map(|words| (words.name(), TypeId(words.u32(1))))
    }
}

impl<'a> DataSection<'a> {
    /// The variables.
    pub fn variables(self) -> impl ExactSizeIterator<Item = SectionVariable> {
        self.records.iter().map(|words| SectionVariable {
            var: TypeId(words.u32(0)),
            offset: words.u32(1),
            size: words.u32(2),
        })
    }
}

/// Decodes one record. `btf` holds the strings it names, `word` is its size or type, `tail` what
/// follows the fixed part.
pub(super) fn decode<'a>(
    btf: &'a Btf,
    kind: Kind,
    name: &'a str,
    info: u32,
    word: u32,
    tail: &'a [u8],
) -> Type<'a> {
    let ty = TypeId(word);
    match kind {
        Kind::Void => Type::Void,
        Kind::Int => {
            let encoding = u32_at(tail, 0);
            Type::Int(Int {
                name,
                size: word,
                bits: encoding as u8,
                bit_offset: (encoding >> 16) as u8,
                signed: encoding & 1 << 24 != 0,
                char: encoding & 1 << 25 != 0,
                bool: encoding & 1 << 26 != 0,
            })
        }
        Kind::Pointer => Type::Pointer { to: ty },
        Kind::Array => Type::Array {
            element: TypeId(u32_at(tail, 0)),
            index: TypeId(u32_at(tail, 4)),
            length: u32_at(tail, 8),
        },
        Kind::Struct | Kind::Union => {
            let records = Records { btf, bytes: tail };
            let composite = Composite { name, size: word, records, bitfields: flag_of(info) };
            match kind {
                Kind::Struct => Type::Struct(composite),
                _ => Type::Union(composite),
            }
        }
        Kind::Enum => {
            let values = EnumValues::Narrow(Records { btf, bytes: tail });
            // Makers before pahole 1.24 marked no enum as signed; C's plain enum constants are `int`.
            let signed = flag_of(info) || !btf.enum_signs;
            Type::Enum(Enum { name, size: word, signed, values })
        }
        Kind::Enum64 => {
            let values = EnumValues::Wide(Records { btf, bytes: tail });
            Type::Enum(Enum { name, size: word, signed: flag_of(info), values })
        }
        Kind::Forward => Type::Forward { name, union: flag_of(info) },
        Kind::Typedef => Type::Typedef { name, ty },
        Kind::Volatile => Type::Volatile { ty },
        Kind::Const => Type::Const { ty },
        Kind::Restrict => Type::Restrict { ty },
        Kind::Func => Type::Func { name, prototype: ty },
        Kind::FuncProto => {
            Type::FuncProto(FuncProto { ret: ty, records: Records { btf, bytes: tail } })
        }
        Kind::Var => Type::Var { name, ty },
        Kind::DataSection => Type::DataSection(DataSection {
            name,
            size: word,
            records: Records { btf, bytes: tail },
        }),
        Kind::Float => Type::Float { name, size: word },
        Kind::DeclTag => {
            let component = u32_at(tail, 0);
            let component = (component != u32::MAX).then_some(component);
            Type::DeclTag { tag: name, ty, component }
        }
        Kind::TypeTag => Type::TypeTag { tag: name, ty },
    }
}
