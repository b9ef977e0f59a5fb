//! Types of values: how each is captured into a record, and read back from it.
//!
//! A type is one file: its [`Kind`] writes the bytes that the same file decodes. [`of`] is the one
//! place that knows them all.

mod array;
mod bpf_map;
mod bpf_program;
mod buffer;
pub(crate) mod capability;
mod credentials;
pub(crate) mod file;
pub(crate) mod integer;
pub(crate) mod memory;
mod module;
pub(crate) mod network;
mod packet;
pub(crate) mod path;
mod perf_event;
mod segments;
mod sockaddr;
mod socket;
mod structure;
pub(crate) mod syscall;
pub(crate) mod text;
mod unix;
mod user_namespace;

use crate::Error;
use crate::emit::{Emitter, Loaded};
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Block, Value};
use policy::document::TypeName;

/// What there is to capture.
pub(crate) struct Capture<'a> {
    /// The input.
    pub(crate) input: &'a Input,
    /// Its value: a number or pointer.
    pub(crate) loaded: Loaded,
    /// Where its bytes go: [`crate::emit::scratch::TEXT_MAX`] + 16 there are.
    pub(crate) to: Value,
    /// Where to go, with a status, when it cannot be read.
    pub(crate) fault: Block,
}

/// A type of values.
pub(crate) trait Kind: Sync {
    /// How many of the value's bytes stand before the text that filters see; 0 but for texts with
    /// something about them, at most 8.
    fn head(&self) -> i32 {
        0
    }

    /// Writes the value's bytes; gives how many, at most [`crate::emit::scratch::TEXT_MAX`] + 8, known
    /// to the verifier.
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error>;

    /// Reads them back. `None`: they are not as they should be.
    fn decode(&self, bytes: &[u8], input: &Input) -> Option<Observed>;
}

/// The type of a name; `None` for those that capture nothing.
pub(crate) fn of(name: TypeName) -> Option<&'static dyn Kind> {
    use TypeName as T;
    Some(match name {
        T::Int | T::Int32 | T::Sint32 | T::BpfCmd => &integer::INT32,
        T::Sint16 | T::Int16 => &integer::INT16,
        T::Sint8 | T::Int8 => &integer::INT8,
        T::Uint32 => &integer::UINT32,
        T::Uint16 => &integer::UINT16,
        T::Uint8 => &integer::UINT8,
        T::Int64 | T::Sint64 | T::Long => &integer::INT64,
        T::Uint64 | T::Ulong | T::SizeT => &integer::UINT64,
        // Where it is, the plan says.
        T::String | T::DataLoc => &text::String,
        T::Filename => &text::Filename,
        T::NetDevice => &text::NetDevice,
        T::ConstBuf => &array::Array,
        T::CharBuf => &buffer::Buffer,
        T::CharIovec => &segments::Vector,
        T::IovIter => &segments::Iterator,
        T::Sock | T::Socket => &socket::Socket,
        T::Skb => &packet::Buffer,
        T::Sockaddr => &sockaddr::Internet,
        T::SockaddrUn => &unix::Unix,
        T::Cred => &credentials::Credentials,
        T::UserNamespace => &user_namespace::UserNamespace,
        T::BpfAttr => &bpf_program::Attributes,
        T::BpfProg => &bpf_program::Program,
        T::BpfMap => &bpf_map::Map,
        T::PerfEvent => &perf_event::Event,
        T::Module => &module::Module,
        T::LoadInfo => &module::Loading,
        T::KernelCapT | T::CapInheritable | T::CapPermitted | T::CapEffective => &capability::Set,
        T::Capability => &integer::INT32,
        T::Syscall64 => &syscall::Syscall,
        T::File | T::Fd | T::Kiocb => &path::FILE,
        T::Path | T::Dentry => &path::PATH,
        T::LinuxBinprm => &path::BINPRM,
        T::Auto | T::Nop => return None,
    })
}

/// Bounds-checked reads from a value's bytes.
pub(crate) mod bytes {
    /// `N` bytes at an offset.
    pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..)?.first_chunk().copied()
    }

    /// A u32 in host byte order.
    pub(crate) fn u32(bytes: &[u8], at: usize) -> Option<u32> {
        array(bytes, at).map(u32::from_ne_bytes)
    }

    /// A u64 in host byte order.
    pub(crate) fn u64(bytes: &[u8], at: usize) -> Option<u64> {
        array(bytes, at).map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Source;
    use policy::CheckedPolicy;
    use policy::checked::ValueKind;

    /// An input of a type; what else it is does not matter to decoding.
    fn input(kind: TypeName) -> Input {
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n  kprobes: [{call: f, syscall: false}]\n";
        let place = CheckedPolicy::read("p", text).unwrap().hooks[0].place.clone();
        Input {
            place,
            kind,
            label: String::new(),
            source: Source::CurrentTask,
            resolve: String::new(),
            hops: Vec::new(),
            length: None,
            return_copy: false,
            max_data: false,
        }
    }

    #[test]
    fn what_is_cut_off_does_not_read_as_a_value() {
        for kind in TypeName::ALL.iter().copied() {
            let Some(value) = of(kind) else { continue };
            let input = input(kind);
            let whole = [0; 256];
            if kind == TypeName::ConstBuf {
                // An array is a field's.
                assert_eq!(value.decode(&whole, &input), None);
                continue;
            }
            assert!(value.decode(&whole, &input).is_some(), "{kind}");
            let text = kind.kind() == ValueKind::Text && value.head() == 0;
            assert_eq!(value.decode(&[], &input).is_some(), text, "{kind}");
            for length in 0..whole.len() {
                // None of them panics.
                let _ = value.decode(&whole[..length], &input);
            }
        }
    }

    #[test]
    fn numbers_that_are_too_large_for_their_field_are_refused() {
        let whole = [0xff; 256];
        for kind in [TypeName::Sock, TypeName::Skb, TypeName::Sockaddr, TypeName::Syscall64] {
            assert_eq!(of(kind).unwrap().decode(&whole, &input(kind)), None, "{kind}");
        }
    }
}
