//! What a filter asks of a captured value: operators, the types that have them, and their values.
//!
//! Each operator that is given several values holds when one of them holds; negated operators hold
//! when none does. So [`Test::negated`] negates the whole, and the rest is without negation.

use super::capability;
use super::cel::{Automaton, Expression};
use super::integer::Width;
use super::list::List;
use super::network::{Cidr, FAMILIES, PROTOCOLS, STATES, ports};
use crate::document::{Operator, TypeName};
use crate::problem::{alternatives, excerpt, hint};
use std::ops::RangeInclusive;

/// A question about one captured value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Whether the comparison must not hold.
    pub negated: bool,
    /// What is asked.
    pub comparison: Comparison,
}

/// What is asked of a value, one of the given ones being enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Is in one of the ranges (Equal, InMap, InRange; capabilities by number, sets of them as bits).
    /// The bounds lie within the type.
    Integers(Vec<RangeInclusive<i128>>),
    /// Is greater than one of the values.
    Greater(Vec<i128>),
    /// Is less than one of the values.
    Less(Vec<i128>),
    /// Has a bit in common with one of the values, as the type's bits.
    Mask(Vec<u64>),
    /// Is one of these system calls: numbers (bit 31 set for 32-bit ABIs) or members of lists.
    Syscalls {
        /// Numbers.
        numbers: Vec<RangeInclusive<i128>>,
        /// Names of lists in the policy.
        lists: Vec<String>,
    },
    /// Is one of these texts.
    Equal(Vec<Vec<u8>>),
    /// Begins with one of these.
    Prefix(Vec<Vec<u8>>),
    /// Ends with one of these.
    Postfix(Vec<Vec<u8>>),
    /// Contains one of these.
    Contains(Vec<Vec<u8>>),
    /// Contains one of these, ASCII upper and lower case taken as equal.
    ContainsIgnoringCase(Vec<Vec<u8>>),
    /// A regular expression matches a part of it; of expressions only.
    Matches(Automaton),
    /// Source address lies in one of the networks.
    SourceAddress(Vec<Cidr>),
    /// Destination address lies in one of the networks.
    DestinationAddress(Vec<Cidr>),
    /// Source port lies in one of the ranges.
    SourcePort(Vec<RangeInclusive<u16>>),
    /// Destination port lies in one of the ranges.
    DestinationPort(Vec<RangeInclusive<u16>>),
    /// Protocol is one of IPPROTO_*.
    Protocol(Vec<u16>),
    /// Address family is one of AF_*.
    Family(Vec<u16>),
    /// State of the connection is one of TCP_*.
    State(Vec<u16>),
    /// Type of the file is one of these.
    FileType(Vec<FileType>),
    /// Has a capability that the value at this position of `args` lacks.
    CapabilitiesGained {
        /// Position in `args` of the set before.
        before: usize,
    },
    /// An expression over the arguments holds; not about one value.
    Cel(Expression),
}

/// Type of a file (`S_IFMT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Socket.
    Socket,
    /// Symbolic link.
    Link,
    /// Regular file.
    Regular,
    /// Block device.
    Block,
    /// Directory.
    Directory,
    /// Character device.
    Character,
    /// FIFO.
    Fifo,
}

/// What a type is to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Known only when the kernel's types are.
    Auto,
    /// Integer.
    Integer(Width),
    /// Set of capabilities.
    CapabilitySet,
    /// Number of a capability.
    Capability,
    /// System call.
    Syscall,
    /// Text or bytes.
    Text,
    /// Something with a path.
    Path,
    /// Something with a path and a file type.
    File,
    /// Socket.
    Socket,
    /// Socket buffer.
    SocketBuffer,
    /// Internet socket address.
    SocketAddress,
    /// Unix socket address.
    UnixAddress,
    /// Nothing that filters know.
    Opaque,
}

const fn integer(bits: u8, signed: bool) -> ValueKind {
    ValueKind::Integer(Width { bits, signed })
}

impl TypeName {
    /// Whether values are bytes of a known number, in which a NUL is a byte as any other.
    #[must_use]
    pub fn is_buffer(self) -> bool {
        matches!(self, Self::CharBuf | Self::CharIovec | Self::IovIter)
    }

    /// What the type is to a filter.
    #[must_use]
    pub fn kind(self) -> ValueKind {
        match self {
            Self::Auto => ValueKind::Auto,
            Self::Sint8 | Self::Int8 => integer(8, true),
            Self::Uint8 => integer(8, false),
            Self::Sint16 | Self::Int16 => integer(16, true),
            Self::Uint16 => integer(16, false),
            Self::Int | Self::Int32 | Self::Sint32 | Self::BpfCmd => integer(32, true),
            Self::Uint32 => integer(32, false),
            Self::Int64 | Self::Sint64 | Self::Long => integer(64, true),
            Self::Uint64 | Self::Ulong | Self::SizeT => integer(64, false),
            Self::KernelCapT | Self::CapInheritable | Self::CapPermitted | Self::CapEffective => {
                ValueKind::CapabilitySet
            }
            Self::Capability => ValueKind::Capability,
            Self::Syscall64 => ValueKind::Syscall,
            Self::String
            | Self::CharBuf
            | Self::CharIovec
            | Self::IovIter
            | Self::DataLoc
            | Self::NetDevice
            | Self::Filename => ValueKind::Text,
            Self::File | Self::Path => ValueKind::File,
            Self::Fd | Self::Dentry | Self::LinuxBinprm | Self::Kiocb => ValueKind::Path,
            Self::Sock | Self::Socket => ValueKind::Socket,
            Self::Skb => ValueKind::SocketBuffer,
            Self::Sockaddr => ValueKind::SocketAddress,
            Self::SockaddrUn => ValueKind::UnixAddress,
            Self::Nop
            | Self::BpfAttr
            | Self::PerfEvent
            | Self::BpfMap
            | Self::UserNamespace
            | Self::Cred
            | Self::ConstBuf
            | Self::LoadInfo
            | Self::Module
            | Self::BpfProg => ValueKind::Opaque,
        }
    }
}

impl ValueKind {
    /// Whether the operators of texts are about it.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Path | Self::File | Self::UnixAddress)
    }

    /// The operators that the type has.
    #[must_use]
    pub fn operators(self) -> Vec<Operator> {
        use Operator as O;
        let text = [
            O::Equal,
            O::NotEqual,
            O::Prefix,
            O::NotPrefix,
            O::Postfix,
            O::NotPostfix,
            O::SubString,
            O::NotSubString,
            O::SubStringIgnCase,
            O::NotSubStringIgnCase,
        ];
        let source = [O::SAddr, O::NotSAddr, O::SPort, O::NotSPort, O::SPortPriv, O::NotSPortPriv];
        let destination =
            [O::DAddr, O::NotDAddr, O::DPort, O::NotDPort, O::DPortPriv, O::NotDPortPriv];
        let protocol = [O::Protocol, O::NotProtocol];
        let family = [O::Family, O::NotFamily];
        let buffer = [&source[..], &destination, &protocol, &family].concat();
        let map = [O::Equal, O::NotEqual, O::InMap, O::NotInMap];
        let range = [O::InRange, O::NotInRange];
        let order = [O::GreaterThan, O::LessThan, O::Mask];
        match self {
            Self::Auto => O::ALL.to_vec(),
            Self::Integer(_) => [&map[..], &range, &order, &[O::CelExpr]].concat(),
            Self::CapabilitySet => {
                [&[O::Equal, O::NotEqual][..], &order, &[O::CapabilitiesGained]].concat()
            }
            Self::Capability => [&map[..], &range, &order[..2]].concat(),
            Self::Syscall => [&map[..], &range].concat(),
            Self::Text => [&text[..], &[O::CelExpr]].concat(),
            Self::Path => [&text[..], &[O::CelExpr]].concat(),
            Self::File => [&text[..], &[O::FileType, O::NotFileType, O::CelExpr]].concat(),
            Self::Socket => [&buffer[..], &[O::State, O::NotState]].concat(),
            Self::SocketBuffer => buffer,
            Self::SocketAddress => [&source[..], &family].concat(),
            Self::UnixAddress => [&text[..], &family, &[O::CelExpr]].concat(),
            Self::Opaque => Vec::new(),
        }
    }
}

/// A problem with the operator itself (`None`) or with one of its values.
pub(crate) type Wrong = (Option<usize>, String);

/// Refuses operators that the type does not have.
pub(crate) fn applies(operator: Operator, kind: TypeName) -> Result<(), String> {
    let operators = kind.kind().operators();
    if operators.contains(&operator) {
        return Ok(());
    }
    let end = if operators.is_empty() {
        "values of this type cannot be filtered".to_owned()
    } else {
        format!("it has {}", alternatives(operators.iter().map(|operator| operator.name())))
    };
    Err(format!("`{operator}` does not apply to type {kind}: {end}"))
}

/// Reads the values of an operator that is about one value of a known type.
/// `CapabilitiesGained` and `CelExpr` are about several and read elsewhere.
pub(crate) fn parse(
    operator: Operator,
    kind: TypeName,
    values: &[String],
    lists: &[List],
) -> Result<Test, Vec<Wrong>> {
    use Operator as O;
    applies(operator, kind).map_err(|message| vec![(None, message)])?;
    let valueless =
        matches!(operator, O::SPortPriv | O::NotSPortPriv | O::DPortPriv | O::NotDPortPriv);
    if valueless && !values.is_empty() {
        return Err(vec![(Some(0), format!("`{operator}` takes no values"))]);
    }
    if !valueless && values.is_empty() {
        return Err(vec![(None, format!("`{operator}` needs at least one value"))]);
    }
    let negated = operator.is_negated();
    let part = matches!(
        operator,
        O::Prefix
            | O::NotPrefix
            | O::Postfix
            | O::NotPostfix
            | O::SubString
            | O::NotSubString
            | O::SubStringIgnCase
            | O::NotSubStringIgnCase
    );
    if part {
        each(values, |value| {
            if value.is_empty() {
                return Err("every text has an empty part: remove this value".to_owned());
            }
            Ok(())
        })?;
    }
    let bytes = |strip: bool| {
        let value = |value: &String| {
            let value = if strip { value.trim_end_matches('\0') } else { value };
            value.as_bytes().to_vec()
        };
        values.iter().map(value).collect::<Vec<_>>()
    };
    let privileged = || vec![0..=1023];
    let comparison = match operator {
        O::Equal | O::NotEqual => match kind.kind() {
            value if value.is_text() => Comparison::Equal(bytes(kind == TypeName::String)),
            value => integers(value, values, Form::Single, lists)?,
        },
        O::InMap | O::NotInMap => integers(kind.kind(), values, Form::Any, lists)?,
        O::InRange | O::NotInRange => integers(kind.kind(), values, Form::Range, lists)?,
        O::GreaterThan => Comparison::Greater(each(values, |value| number(kind.kind(), value))?),
        O::LessThan => Comparison::Less(each(values, |value| number(kind.kind(), value))?),
        O::Mask => Comparison::Mask(each(values, |value| {
            let bits = number(kind.kind(), value)?;
            let width = kind.kind().width();
            // Two's complement of the type's width.
            u64::try_from(bits & ((1_i128 << width.bits) - 1)).map_err(|error| error.to_string())
        })?),
        O::Prefix | O::NotPrefix => Comparison::Prefix(bytes(false)),
        O::Postfix | O::NotPostfix => Comparison::Postfix(bytes(!kind.is_buffer())),
        O::SubString | O::NotSubString => Comparison::Contains(bytes(false)),
        O::SubStringIgnCase | O::NotSubStringIgnCase => {
            Comparison::ContainsIgnoringCase(bytes(false))
        }
        O::SAddr | O::NotSAddr => Comparison::SourceAddress(each(values, Cidr::parse)?),
        O::DAddr | O::NotDAddr => Comparison::DestinationAddress(each(values, Cidr::parse)?),
        O::SPort | O::NotSPort => Comparison::SourcePort(each(values, ports)?),
        O::DPort | O::NotDPort => Comparison::DestinationPort(each(values, ports)?),
        O::SPortPriv | O::NotSPortPriv => Comparison::SourcePort(privileged()),
        O::DPortPriv | O::NotDPortPriv => Comparison::DestinationPort(privileged()),
        O::Protocol | O::NotProtocol => {
            Comparison::Protocol(each(values, |value| PROTOCOLS.parse(value))?)
        }
        O::Family | O::NotFamily => {
            Comparison::Family(each(values, |value| FAMILIES.parse(value))?)
        }
        O::State | O::NotState => Comparison::State(each(values, |value| STATES.parse(value))?),
        O::FileType | O::NotFileType => Comparison::FileType(each(values, file_type)?),
        O::CapabilitiesGained | O::CelExpr => {
            return Err(vec![(None, format!("`{operator}` is not about one value"))]);
        }
    };
    Ok(Test { negated, comparison })
}

impl Operator {
    /// Whether the operator holds when none of its values does.
    #[must_use]
    pub fn is_negated(self) -> bool {
        self.name().starts_with("Not")
    }
}

impl ValueKind {
    /// The width of what is an integer to a filter; 64 bits unsigned for everything else.
    fn width(self) -> Width {
        match self {
            Self::Integer(width) => width,
            _ => Width { bits: 64, signed: false },
        }
    }
}

fn each<T>(
    values: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let mut parsed = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        match parse(value) {
            Ok(value) => parsed.push(value),
            Err(message) => wrong.push((Some(index), message)),
        }
    }
    if wrong.is_empty() { Ok(parsed) } else { Err(wrong) }
}

fn number(kind: ValueKind, text: &str) -> Result<i128, String> {
    match kind {
        ValueKind::CapabilitySet => capability::set(text).map(i128::from),
        ValueKind::Capability => capability::name_or_number(text).map(i128::from),
        _ => kind.width().parse(text),
    }
}

/// How an operator's values are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Single,
    Range,
    Any,
}

fn integers(
    kind: ValueKind,
    values: &[String],
    form: Form,
    lists: &[List],
) -> Result<Comparison, Vec<Wrong>> {
    let mut named = Vec::new();
    let mut plain = Vec::new();
    let mut wrong = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let read = match value.strip_prefix("list:") {
            Some(name) if form == Form::Any => syscall_list(kind, name, lists).map(|()| {
                named.push(name.to_owned());
            }),
            _ => range(kind, value, form).map(|range| plain.push(range)),
        };
        if let Err(message) = read {
            wrong.push((Some(index), message));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(if kind == ValueKind::Syscall {
        Comparison::Syscalls { numbers: plain, lists: named }
    } else {
        Comparison::Integers(plain)
    })
}

fn range(kind: ValueKind, text: &str, form: Form) -> Result<RangeInclusive<i128>, String> {
    let ranged = form == Form::Range || form == Form::Any && text.contains(':');
    if !ranged {
        let value = number(kind, text)?;
        return Ok(value..=value);
    }
    let range = kind.width().parse_range(text)?;
    let (least, most) = (*range.start(), *range.end());
    if least <= most {
        Ok(range)
    } else if form == Form::Any {
        // Either order means the same to InMap.
        Ok(most..=least)
    } else {
        Err(format!("the range {least}:{most} is reversed: write {most}:{least}"))
    }
}

fn syscall_list(kind: ValueKind, name: &str, lists: &[List]) -> Result<(), String> {
    let Some(list) = lists.iter().find(|list| list.name == name) else {
        return Err(unknown_list(name, lists));
    };
    if kind != ValueKind::Syscall {
        return Err("a list is compared with values of type syscall64 only".to_owned());
    }
    if !list.has_syscalls() {
        return Err(format!(
            "list `{}` has no system calls: give it type syscalls or generated_syscalls",
            excerpt(name)
        ));
    }
    Ok(())
}

/// The message about a list that is not there.
pub(crate) fn unknown_list(name: &str, lists: &[List]) -> String {
    let known: Vec<&str> = lists.iter().map(|list| list.name.as_str()).collect();
    format!("there is no list `{}` in spec.lists: {}", excerpt(name), hint(name, &known))
}

fn file_type(text: &str) -> Result<FileType, String> {
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "sock" | "socket" => FileType::Socket,
        "lnk" | "link" => FileType::Link,
        "reg" | "regular" => FileType::Regular,
        "blk" | "block" => FileType::Block,
        "dir" | "directory" => FileType::Directory,
        "chr" | "char" => FileType::Character,
        "fifo" | "pipe" => FileType::Fifo,
        _ => {
            return Err(format!(
                "`{}` is no type of file: it can be sock, lnk, reg, blk, dir, chr or fifo",
                excerpt(text)
            ));
        }
    })
}
