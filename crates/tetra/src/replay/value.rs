//! Recorded values, as filters see them.

use std::net::IpAddr;

use api::tetragon::KprobeArgument;
use api::tetragon::kprobe_argument::Arg;
use kernel::syscalls::Abi;
use policy::checked::{FileType, SyscallAbi, ValueKind};
use policy::document::TypeName;
use policy::evaluate::{End, Socket, Value};
use policy::names;

/// Why a path was cut off, in a file's flags.
const UNRESOLVED: &str = "unresolvedPathComponents";

/// The value of an argument of that type; nothing when the recording does not have all of it, or has
/// something else.
pub(super) fn value(kind: TypeName, recorded: &KprobeArgument) -> Option<Value> {
    let arg = recorded.arg.as_ref()?;
    // It was not read then, and policies cannot tell more of it.
    if let Arg::ErrorArg(_) = arg {
        return Some(Value::Fault);
    }
    Some(match kind.kind() {
        ValueKind::Integer(_) => Value::Integer(integer(arg)?),
        ValueKind::CapabilitySet => Value::CapabilitySet(capabilities(arg)?),
        ValueKind::Capability => {
            let Arg::CapabilityArg(capability) = arg else { return None };
            Value::Capability(u32::try_from(capability.value?).ok()?)
        }
        ValueKind::Syscall => syscall(arg)?,
        ValueKind::Text => Value::Text(text(arg)?),
        ValueKind::Path | ValueKind::File => path(arg)?,
        ValueKind::Socket | ValueKind::SocketBuffer | ValueKind::SocketAddress => {
            Value::Socket(socket(arg)?)
        }
        ValueKind::UnixAddress => {
            let Arg::SockaddrunArg(address) = arg else { return None };
            let path = match address.path.strip_prefix('@') {
                Some(name) => [&[0], name.as_bytes()].concat(),
                None => address.path.clone().into_bytes(),
            };
            Value::UnixAddress { family: names::family_number(&address.family)?, path }
        }
        // Nothing is asked of these.
        ValueKind::Opaque => Value::Opaque,
        ValueKind::Auto => return None,
    })
}

/// The type that a value of an unknown type must have had, as far as filters go.
pub(super) fn kind(recorded: &KprobeArgument) -> Option<TypeName> {
    Some(match recorded.arg.as_ref()? {
        Arg::IntArg(_) => TypeName::Int,
        Arg::UintArg(_) => TypeName::Uint32,
        Arg::LongArg(_) => TypeName::Long,
        Arg::SizeArg(_) => TypeName::SizeT,
        Arg::StringArg(_) => TypeName::String,
        Arg::BytesArg(_) | Arg::TruncatedBytesArg(_) => TypeName::CharBuf,
        Arg::FileArg(_) => TypeName::File,
        Arg::PathArg(_) => TypeName::Path,
        Arg::LinuxBinprmArg(_) => TypeName::LinuxBinprm,
        Arg::SockArg(_) => TypeName::Sock,
        Arg::SkbArg(_) => TypeName::Skb,
        Arg::SockaddrArg(_) => TypeName::Sockaddr,
        Arg::SockaddrunArg(_) => TypeName::SockaddrUn,
        Arg::CapabilityArg(_) => TypeName::Capability,
        Arg::KernelCapTArg(_) => TypeName::KernelCapT,
        Arg::CapInheritableArg(_) => TypeName::CapInheritable,
        Arg::CapPermittedArg(_) => TypeName::CapPermitted,
        Arg::CapEffectiveArg(_) => TypeName::CapEffective,
        Arg::SyscallId(_) => TypeName::Syscall64,
        Arg::BpfCmdArg(_) => TypeName::BpfCmd,
        Arg::NetDevArg(_) => TypeName::NetDevice,
        _ => return None,
    })
}

fn integer(arg: &Arg) -> Option<i128> {
    Some(match arg {
        Arg::IntArg(value) | Arg::BpfCmdArg(value) => i128::from(*value),
        Arg::UintArg(value) => i128::from(*value),
        Arg::LongArg(value) => i128::from(*value),
        Arg::SizeArg(value) => i128::from(*value),
        _ => return None,
    })
}

fn capabilities(arg: &Arg) -> Option<u64> {
    match arg {
        Arg::KernelCapTArg(hex)
        | Arg::CapInheritableArg(hex)
        | Arg::CapPermittedArg(hex)
        | Arg::CapEffectiveArg(hex) => u64::from_str_radix(hex, 16).ok(),
        _ => None,
    }
}

fn syscall(arg: &Arg) -> Option<Value> {
    let Arg::SyscallId(call) = arg else { return None };
    let known: Abi = call.abi.parse().ok()?;
    let abi = match known {
        Abi::X64 => SyscallAbi::X64,
        Abi::I386 => SyscallAbi::I386,
        Abi::Arm64 => SyscallAbi::Arm64,
        Abi::Arm32 => SyscallAbi::Arm32,
    };
    // Numbers of 32-bit calls may carry bit 31.
    let number = if abi.is_compat() { call.id & 0x7fff_ffff } else { call.id };
    Some(Value::Syscall { number, abi, name: known.name(number).map(str::to_owned) })
}

fn text(arg: &Arg) -> Option<Vec<u8>> {
    match arg {
        Arg::StringArg(text) => Some(text.clone().into_bytes()),
        Arg::BytesArg(bytes) => Some(bytes.clone()),
        Arg::TruncatedBytesArg(cut) if cut.orig_size == cut.bytes_arg.len() as u64 => {
            Some(cut.bytes_arg.clone())
        }
        Arg::NetDevArg(device) => Some(device.name.clone().into_bytes()),
        _ => None,
    }
}

fn path(arg: &Arg) -> Option<Value> {
    let (path, flags, permission) = match arg {
        Arg::FileArg(file) => (&file.path, &file.flags, &file.permission),
        Arg::PathArg(path) => (&path.path, &path.flags, &path.permission),
        Arg::LinuxBinprmArg(program) => (&program.path, &program.flags, &program.permission),
        _ => return None,
    };
    let file_type = permission.chars().next().and_then(|letter| {
        Some(match letter {
            's' => FileType::Socket,
            'l' => FileType::Link,
            '-' => FileType::Regular,
            'b' => FileType::Block,
            'd' => FileType::Directory,
            'c' => FileType::Character,
            'p' => FileType::Fifo,
            _ => return None,
        })
    });
    let whole = !flags.split(' ').any(|flag| flag == UNRESOLVED);
    whole.then(|| Value::Path { path: path.clone().into_bytes(), file_type })
}

fn socket(arg: &Arg) -> Option<Socket> {
    let end = |address: &str, port: u32| End {
        address: address.parse::<IpAddr>().ok(),
        port: u16::try_from(port).ok(),
    };
    Some(match arg {
        Arg::SockArg(sock) => Socket {
            family: names::family_number(&sock.family)?,
            protocol: names::protocol_number(&sock.protocol),
            state: names::tcp_state_number(&sock.state),
            source: end(&sock.saddr, sock.sport),
            destination: end(&sock.daddr, sock.dport),
        },
        Arg::SkbArg(skb) => Socket {
            family: names::family_number(&skb.family)?,
            protocol: u16::try_from(skb.proto).ok(),
            state: None,
            source: end(&skb.saddr, skb.sport),
            destination: end(&skb.daddr, skb.dport),
        },
        Arg::SockaddrArg(address) => Socket {
            family: names::family_number(&address.family)?,
            protocol: None,
            state: None,
            source: end(&address.addr, address.port),
            destination: End::default(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: TypeName, json: &str) -> Option<Value> {
        value(kind, &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn values_are_what_they_were() {
        assert_eq!(of(TypeName::Int, r#"{"int_arg":-1}"#), Some(Value::Integer(-1)));
        assert_eq!(
            of(TypeName::SizeT, r#"{"size_arg":"18446744073709551615"}"#),
            Some(Value::Integer(u64::MAX.into()))
        );
        assert_eq!(of(TypeName::String, r#"{"string_arg":"a"}"#), Some(Value::Text(b"a".into())));
        let file = r#"{"file_arg":{"path":"/etc","permission":"drwxr-xr-x"}}"#;
        let expected = Value::Path { path: b"/etc".into(), file_type: Some(FileType::Directory) };
        assert_eq!(of(TypeName::File, file), Some(expected));
        let call = r#"{"syscall_id":{"id":257,"abi":"x64"}}"#;
        let expected =
            Value::Syscall { number: 257, abi: SyscallAbi::X64, name: Some("openat".to_owned()) };
        assert_eq!(of(TypeName::Syscall64, call), Some(expected));
        let sock = r#"{"sock_arg":{"family":"AF_INET","protocol":"IPPROTO_TCP","state":"TCP_LISTEN","saddr":"127.0.0.1","sport":80}}"#;
        let Some(Value::Socket(socket)) = of(TypeName::Sock, sock) else { panic!() };
        assert_eq!((socket.family, socket.protocol, socket.state), (2, Some(6), Some(10)));
        assert_eq!(socket.source.port, Some(80));
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for (kind, json) in [
            (TypeName::Int, r#"{"string_arg":"1"}"#),
            (TypeName::File, r#"{"file_arg":{"path":"b/c","flags":"unresolvedPathComponents"}}"#),
            (TypeName::CharBuf, r#"{"truncated_bytes_arg":{"bytes_arg":"AAA=","orig_size":"9"}}"#),
            (TypeName::Int, "{}"),
        ] {
            assert_eq!(of(kind, json), None, "{json}");
        }
        assert_eq!(of(TypeName::Int, r#"{"error_arg":{"Message":"x"}}"#), Some(Value::Fault));
    }
}
