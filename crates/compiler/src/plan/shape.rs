//! What a C type is to policies: a number, a pointer to something, or something in place; and which of
//! the policies' types fit it.
//!
//! Types come from BTF, and, for system calls and records of tracepoints, from C texts in tracefs.

use kernel::btf::{Btf, Kind, Type, TypeId};
use policy::document::TypeName;

/// A C type as far as policies tell types apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// `void`
    Nothing,
    /// A number, truth value or enum.
    Integer {
        /// Bytes.
        size: u32,
        /// Whether it can be negative.
        signed: bool,
        /// Whether C calls it `size_t`.
        size_t: bool,
    },
    /// A pointer.
    Pointer(To),
    /// A structure or union in place, with the names it goes by.
    Object(Vec<String>),
    /// An array of `char` in place.
    Text,
    /// Something else: an array, a floating-point number.
    Other,
}

/// What a pointer points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// `void`
    Unknown,
    /// Bytes; `text`: C calls them `char`.
    Bytes { text: bool },
    /// A structure or union, with the names it goes by.
    Object(Vec<String>),
    /// Something else: a number, a pointer, a function.
    Other,
}

/// Structures that policies have a type for; the first type of a name is the one that is inferred.
const OBJECTS: &[(TypeName, &[&str])] = &[
    (TypeName::File, &["file"]),
    (TypeName::Path, &["path"]),
    (TypeName::Dentry, &["dentry"]),
    (TypeName::Sock, &["sock"]),
    (TypeName::Socket, &["socket"]),
    (TypeName::Skb, &["sk_buff"]),
    (TypeName::Sockaddr, SOCKADDR),
    (TypeName::SockaddrUn, &["sockaddr_un", "sockaddr", "sockaddr_unsized"]),
    (TypeName::LinuxBinprm, &["linux_binprm"]),
    (TypeName::Cred, &["cred"]),
    (TypeName::Filename, &["filename"]),
    (TypeName::KernelCapT, CAPABILITIES),
    (TypeName::CapInheritable, CAPABILITIES),
    (TypeName::CapPermitted, CAPABILITIES),
    (TypeName::CapEffective, CAPABILITIES),
    (TypeName::UserNamespace, &["user_namespace"]),
    (TypeName::BpfAttr, &["bpf_attr"]),
    (TypeName::BpfMap, &["bpf_map"]),
    (TypeName::BpfProg, &["bpf_prog"]),
    (TypeName::PerfEvent, &["perf_event"]),
    (TypeName::NetDevice, &["net_device"]),
    (TypeName::Module, &["module"]),
    (TypeName::LoadInfo, &["load_info"]),
    (TypeName::IovIter, &["iov_iter"]),
    (TypeName::CharIovec, &["iovec"]),
    (TypeName::Kiocb, &["kiocb"]),
];

/// `sockaddr_unsized` (Linux 6.19) is what `sockaddr` was before in the kernel's interfaces.
const SOCKADDR: &[&str] = &[
    "sockaddr",
    "sockaddr_unsized",
    "sockaddr_in",
    "sockaddr_in6",
    "sockaddr_storage",
    "__kernel_sockaddr_storage",
    "sockaddr_un",
];

/// A `typedef struct kernel_cap_struct`; an anonymous struct from Linux 6.3 on.
const CAPABILITIES: &[&str] = &["kernel_cap_t", "kernel_cap_struct"];

/// Structures nested at offset 0 that a pointer to one is a pointer to as well: `tcp_sock` starts with
/// `inet_connection_sock`, that with `inet_sock`, that with `sock`.
const NESTED_MAX: usize = 8;

impl Shape {
    /// Of a type in BTF.
    pub(super) fn of(btf: &Btf, ty: TypeId) -> Self {
        match btf.ty(btf.peel(ty)) {
            Ok(Type::Void) => Self::Nothing,
            Ok(Type::Int(int)) => Self::Integer {
                size: int.size,
                signed: int.signed,
                size_t: typedefs(btf, ty).iter().any(|name| name == "size_t"),
            },
            Ok(Type::Enum(of)) => Self::Integer { size: of.size, signed: of.signed, size_t: false },
            Ok(Type::Pointer { to }) => Self::Pointer(To::of(btf, to)),
            Ok(Type::Struct(_) | Type::Union(_) | Type::Forward { .. }) => {
                Self::Object(names(btf, ty))
            }
            Ok(Type::Array { element, .. }) if is_char(btf, element) => Self::Text,
            _ => Self::Other,
        }
    }

    /// Of a type as C writes it, with the size and sign that tracefs gives for it.
    pub(super) fn of_text(btf: &Btf, text: &str, size: u32, signed: bool) -> Self {
        let (base, stars) = match text.find('*') {
            Some(at) => (&text[..at], text.matches('*').count()),
            None => (text, 0),
        };
        let words: Vec<&str> = base
            .split_whitespace()
            .filter(|word| !matches!(*word, "const" | "volatile" | "__user" | "__kernel"))
            .collect();
        let object = match words.as_slice() {
            ["struct" | "union", name] => Some(vec![(*name).to_owned()]),
            _ => None,
        };
        let typedef = match words.as_slice() {
            [name] => btf.find(Kind::Typedef, name),
            _ => None,
        };
        match (stars, object, typedef, words.as_slice()) {
            (0, Some(names), ..) => Self::Object(names),
            (0, None, ..) => Self::Integer { size, signed, size_t: words == ["size_t"] },
            (1, Some(names), ..) => Self::Pointer(To::Object(names)),
            (1, None, Some(typedef), _) => Self::Pointer(To::of(btf, typedef)),
            (1, None, None, ["void"]) => Self::Pointer(To::Unknown),
            (1, None, None, [.., "char"]) => Self::Pointer(To::Bytes { text: true }),
            _ => Self::Pointer(To::Other),
        }
    }

    /// Of a type as C writes it, its size and sign as BTF or C itself says.
    pub(super) fn of_c(btf: &Btf, text: &str) -> Self {
        let plain = text.replace("const ", "");
        let plain = plain.trim();
        let known = btf.find(Kind::Typedef, plain).or_else(|| btf.find(Kind::Int, plain));
        let c = |text: &str| match text {
            "char" => (1, true),
            "unsigned char" => (1, false),
            "short" | "short int" => (2, true),
            "unsigned short" | "short unsigned int" => (2, false),
            "unsigned" | "unsigned int" => (4, false),
            "long" | "long int" | "long long" => (8, true),
            "unsigned long" | "long unsigned int" | "unsigned long long" => (8, false),
            _ => (4, true),
        };
        match known {
            Some(ty) => Self::of(btf, ty),
            None => {
                let (size, signed) = c(plain);
                Self::of_text(btf, text, size, signed)
            }
        }
    }

    /// The policies' type that says best what this is; `sized`: the length of a buffer is known.
    pub(super) fn inferred(&self, sized: bool) -> Option<TypeName> {
        match self {
            Self::Integer { size_t: true, .. } => Some(TypeName::SizeT),
            Self::Integer { size, signed, .. } => Some(integer(*size, *signed)),
            Self::Pointer(To::Unknown | To::Bytes { .. }) if sized => Some(TypeName::CharBuf),
            Self::Pointer(To::Bytes { text: true }) | Self::Text => Some(TypeName::String),
            Self::Pointer(To::Object(names)) | Self::Object(names) => inferred_object(names),
            Self::Nothing | Self::Pointer(_) | Self::Other => None,
        }
    }

    /// Whether a value of this C type can be read as a type of the policies.
    pub(super) fn fits(&self, kind: TypeName) -> bool {
        let address = matches!(self, Self::Integer { size: 8, .. } | Self::Pointer(To::Unknown));
        match kind {
            TypeName::Nop => true,
            TypeName::String => {
                address || matches!(self, Self::Text | Self::Pointer(To::Bytes { .. }))
            }
            TypeName::CharBuf => {
                address || matches!(self, Self::Pointer(_) | Self::Text | Self::Other)
            }
            TypeName::Fd | TypeName::Capability | TypeName::BpfCmd => self.is_integer(),
            TypeName::Syscall64 => matches!(self, Self::Integer { size: 8, .. }),
            // An address is a number too.
            TypeName::Int64
            | TypeName::Sint64
            | TypeName::Long
            | TypeName::Uint64
            | TypeName::Ulong
            | TypeName::SizeT => self.is_integer() || matches!(self, Self::Pointer(_)),
            _ => match OBJECTS.iter().find(|(object, _)| *object == kind) {
                Some((_, accepted)) => match self {
                    Self::Pointer(To::Object(names)) | Self::Object(names) => {
                        names.iter().any(|name| accepted.contains(&name.as_str()))
                    }
                    _ => address,
                },
                None => {
                    matches!(kind.kind(), policy::checked::ValueKind::Integer(_))
                        && self.is_integer()
                }
            },
        }
    }

    /// Whether it is a whole word: a pointer, or a number as large as one.
    pub(super) fn is_word(&self) -> bool {
        matches!(self, Self::Pointer(_) | Self::Integer { size: 8, .. })
    }

    /// Whether it is a number.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self, Self::Integer { .. })
    }
}

/// The structure that values of a type are read from, where this kernel has none: it is built without
/// what the structure belongs to.
pub(super) fn lacking(btf: &Btf, kind: TypeName) -> Option<&'static str> {
    // What user space writes is laid out the same everywhere.
    if matches!(kind, TypeName::BpfAttr | TypeName::Sockaddr | TypeName::SockaddrUn) {
        return None;
    }
    let (_, names) = OBJECTS.iter().find(|(object, _)| *object == kind)?;
    let known =
        |name: &&str| btf.find_struct(name).is_ok() || btf.find(Kind::Typedef, name).is_some();
    if names.iter().any(known) { None } else { names.first().copied() }
}

impl To {
    fn of(btf: &Btf, ty: TypeId) -> Self {
        match btf.ty(btf.peel(ty)) {
            Ok(Type::Void) => Self::Unknown,
            Ok(Type::Int(int)) if int.size == 1 && !int.bool => {
                Self::Bytes { text: is_char(btf, ty) }
            }
            Ok(Type::Struct(_) | Type::Union(_) | Type::Forward { .. }) => {
                Self::Object(names(btf, ty))
            }
            _ => Self::Other,
        }
    }
}

/// The type for numbers of so many bytes.
pub(super) fn integer(size: u32, signed: bool) -> TypeName {
    match (size, signed) {
        (1, true) => TypeName::Int8,
        (1, false) => TypeName::Uint8,
        (2, true) => TypeName::Int16,
        (2, false) => TypeName::Uint16,
        (4, true) => TypeName::Int,
        (4, false) => TypeName::Uint32,
        (_, true) => TypeName::Int64,
        (_, false) => TypeName::Uint64,
    }
}

fn inferred_object(names: &[String]) -> Option<TypeName> {
    let exact = |name: &String| {
        OBJECTS.iter().find(|(_, known)| known.contains(&name.as_str())).map(|(kind, _)| *kind)
    };
    // Where a struct begins with another, only sockets are meant to be taken for it: `struct nameidata`
    // begins with a `struct path`, but that is not what it is.
    let sock = || names.iter().any(|name| name == "sock").then_some(TypeName::Sock);
    names.first().and_then(exact).or_else(sock)
}

/// Whether C calls a type `char`: not `u8`, which is the same but meant for bytes.
fn is_char(btf: &Btf, ty: TypeId) -> bool {
    let mut at = ty;
    loop {
        at = match btf.ty(at) {
            Ok(Type::Const { ty } | Type::Volatile { ty } | Type::TypeTag { ty, .. }) => ty,
            Ok(Type::Int(int)) => return int.size == 1 && int.name.ends_with("char"),
            _ => return false,
        };
    }
}

/// The names of the typedefs that a type is behind.
fn typedefs(btf: &Btf, ty: TypeId) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = ty;
    loop {
        at = match btf.ty(at) {
            Ok(Type::Typedef { name, ty }) => {
                names.push(name.to_owned());
                ty
            }
            Ok(Type::Const { ty } | Type::Volatile { ty } | Type::TypeTag { ty, .. }) => ty,
            _ => return names,
        };
    }
}

/// The names that a structure goes by: its own, its typedefs', those of the structures it begins with.
fn names(btf: &Btf, ty: TypeId) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = ty;
    for _ in 0..NESTED_MAX {
        let own = btf.name(btf.peel(at));
        if !own.is_empty() {
            names.push(own.to_owned());
        }
        names.extend(typedefs(btf, at));
        let Ok(Type::Struct(composite)) = btf.ty(btf.peel(at)) else { break };
        match composite.members().next() {
            Some(first) if btf.kind(btf.peel(first.ty)) == Kind::Struct => at = first.ty,
            _ => break,
        }
    }
    names
}
