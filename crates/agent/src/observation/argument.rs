//! Values as arguments of events.
//!
//! Which member of the oneof a value becomes follows from what was captured; where several types of the
//! policy are captured alike (a set of capabilities is a 64-bit number), from the type that was asked for.

use api::tetragon::{self as wire, KprobeArgument, kprobe_argument::Arg};
use compiler::observed::{Fault, FilePath, Observed};
use compiler::plan::Input;
use kernel::syscalls::Abi;
use policy::document::TypeName;
use policy::names;

use super::text::text;
use super::{bpf, module, network, path};
use crate::process::privileges;
use crate::procfs::HostNamespaces;

/// Turns values into arguments.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    /// What credentials are compared with.
    pub(super) host: &'a HostNamespaces,
    /// Whether arguments of this event carry labels.
    pub(super) labels: bool,
}

impl Arguments<'_> {
    /// The values of a list, without those that are not reported. An array is an argument for each of
    /// its elements.
    pub(super) fn list(
        &self,
        inputs: &[Input],
        values: Vec<Option<Observed>>,
    ) -> Vec<KprobeArgument> {
        let given = inputs.iter().zip(values);
        let mut list = Vec::with_capacity(inputs.len());
        for (input, value) in given {
            match value {
                None => {}
                Some(Observed::Values(elements)) => {
                    list.extend(elements.into_iter().map(|element| self.one(input, element)));
                }
                Some(value) => list.push(self.one(input, value)),
            }
        }
        list
    }

    /// One value.
    pub(super) fn one(&self, input: &Input, value: Observed) -> KprobeArgument {
        let label = if self.labels { input.label.clone() } else { String::new() };
        KprobeArgument { label, arg: Some(arg(input.kind, value, self.host)) }
    }
}

fn arg(kind: TypeName, value: Observed, host: &HostNamespaces) -> Arg {
    match value {
        Observed::Int(value) => match kind {
            TypeName::BpfCmd => Arg::BpfCmdArg(value),
            TypeName::Capability => Arg::CapabilityArg(capability(value)),
            _ => Arg::IntArg(value),
        },
        Observed::Uint(value) => Arg::UintArg(value),
        Observed::Long(value) => Arg::LongArg(value),
        Observed::Size(value) => match kind {
            TypeName::KernelCapT => Arg::KernelCapTArg(hex(value)),
            TypeName::CapInheritable => Arg::CapInheritableArg(hex(value)),
            TypeName::CapPermitted => Arg::CapPermittedArg(hex(value)),
            TypeName::CapEffective => Arg::CapEffectiveArg(hex(value)),
            _ => Arg::SizeArg(value),
        },
        Observed::Text(bytes) => Arg::StringArg(text(&bytes)),
        Observed::Bytes { bytes, original } => buffer(bytes, original),
        // A list takes them apart.
        Observed::Values(_) => error("An array in the place of a value".to_owned()),
        Observed::File(path) => Arg::FileArg(file(&path)),
        Observed::Path(given) => {
            let path::Shown { path, flags, permission } = path::shown(&given);
            Arg::PathArg(wire::KprobePath { mount: String::new(), path, flags, permission })
        }
        Observed::Binprm(given) => {
            let path::Shown { path, flags, permission } = path::shown(&given);
            Arg::LinuxBinprmArg(wire::KprobeLinuxBinprm { path, flags, permission })
        }
        Observed::Socket(socket) => Arg::SockArg(network::socket(&socket)),
        Observed::Buffer(buffer) => Arg::SkbArg(network::buffer(&buffer)),
        Observed::Address(address) => Arg::SockaddrArg(network::internet_address(&address)),
        Observed::UnixAddress { family, path } => {
            Arg::SockaddrunArg(network::unix_address(family, &path))
        }
        Observed::Credentials(creds) => {
            Arg::ProcessCredentialsArg(privileges::credentials(&creds, host))
        }
        Observed::UserNamespace(namespace) => {
            Arg::UserNsArg(privileges::user_namespace(&namespace, host))
        }
        Observed::BpfAttributes(program) => Arg::BpfAttrArg(bpf::attributes(&program)),
        Observed::BpfProgram(program) => Arg::BpfProgArg(bpf::program(&program)),
        Observed::BpfMap(map) => Arg::BpfMapArg(bpf::map(&map)),
        Observed::PerfEvent(event) => Arg::PerfEventArg(bpf::perf_event(&event)),
        Observed::Module(seen) => Arg::ModuleArg(module::module(&seen)),
        Observed::Syscall { number, compat } => {
            Arg::SyscallId(wire::SyscallId { id: number, abi: abi(compat).to_owned() })
        }
        Observed::Fault(fault) => failed(kind, fault),
    }
}

/// A number beyond the capabilities that are known has no name.
fn capability(number: i32) -> wire::KprobeCapability {
    let name = u32::try_from(number).ok().and_then(names::capability).unwrap_or_default();
    wire::KprobeCapability { value: Some(number), name: name.to_owned() }
}

fn file(given: &FilePath) -> wire::KprobeFile {
    let path::Shown { path, flags, permission } = path::shown(given);
    wire::KprobeFile { mount: String::new(), path, flags, permission }
}

fn buffer(bytes: Vec<u8>, original: Option<u64>) -> Arg {
    match original {
        Some(orig_size) if orig_size > bytes.len() as u64 => {
            Arg::TruncatedBytesArg(wire::KprobeTruncatedBytes { bytes_arg: bytes, orig_size })
        }
        _ => Arg::BytesArg(bytes),
    }
}

/// A set of capabilities.
fn hex(set: u64) -> String {
    format!("{set:016x}")
}

/// The ABI's name; `compat` is that of 32-bit programs. On a machine that is neither x86-64 nor arm64
/// there is no name.
fn abi(compat: bool) -> &'static str {
    match (Abi::native(), compat) {
        (Some(Abi::X64 | Abi::I386), false) => "x64",
        (Some(Abi::X64 | Abi::I386), true) => "i386",
        (Some(Abi::Arm64 | Abi::Arm32), false) => "arm64",
        (Some(Abi::Arm64 | Abi::Arm32), true) => "arm32",
        (None, _) => "",
    }
}

/// What stands in the place of a value that could not be read. Buffers have words of their own.
fn failed(kind: TypeName, fault: Fault) -> Arg {
    let is_buffer = kind.is_buffer();
    match fault {
        Fault::Address if is_buffer => Arg::BytesArg(b"CharBufErrorPageFault".to_vec()),
        Fault::Room if is_buffer => Arg::BytesArg(b"CharBufErrorBufTooLarge".to_vec()),
        Fault::Address => error("Bad address for basic type".to_owned()),
        Fault::Resolve(depth) => {
            error(format!("Bad address encountered during resolve dereference at depth {depth}"))
        }
        Fault::Room => error("No room left in the event".to_owned()),
    }
}

fn error(message: String) -> Arg {
    Arg::ErrorArg(wire::KprobeError { message })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use compiler::base::record::{Creds, Identity, UserNs};
    use compiler::observed::{End, Socket, SocketAddress, SocketBuffer};

    use super::*;
    use crate::test_observations::{kprobe, observation};

    fn path_of(path: &str) -> FilePath {
        FilePath { path: path.into(), complete: true, mode: 0o100_755 }
    }

    fn end() -> End {
        End { address: Some(IpAddr::from([127, 0, 0, 1])), port: 80 }
    }

    fn of(kind: TypeName, value: Observed) -> Arg {
        arg(kind, value, &HostNamespaces { user: 9, ..HostNamespaces::default() })
    }

    #[test]
    fn numbers() {
        use TypeName::*;
        let cases = [
            (Int, Observed::Int(-1), Arg::IntArg(-1)),
            (Int8, Observed::Int(-128), Arg::IntArg(-128)),
            (Sint16, Observed::Int(-32768), Arg::IntArg(-32768)),
            (Uint32, Observed::Uint(u32::MAX), Arg::UintArg(u32::MAX)),
            (Uint8, Observed::Uint(255), Arg::UintArg(255)),
            (Int64, Observed::Long(i64::MIN), Arg::LongArg(i64::MIN)),
            (Ulong, Observed::Size(u64::MAX), Arg::SizeArg(u64::MAX)),
            (SizeT, Observed::Size(4096), Arg::SizeArg(4096)),
            (BpfCmd, Observed::Int(5), Arg::BpfCmdArg(5)),
            (KernelCapT, Observed::Size(0x2f), Arg::KernelCapTArg("000000000000002f".into())),
            (CapInheritable, Observed::Size(0), Arg::CapInheritableArg("0000000000000000".into())),
            (
                CapPermitted,
                Observed::Size(1 << 40),
                Arg::CapPermittedArg("0000010000000000".into()),
            ),
            (
                CapEffective,
                Observed::Size(u64::MAX),
                Arg::CapEffectiveArg("ffffffffffffffff".into()),
            ),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(of(kind, value.clone()), expected, "{kind} {value:?}");
        }
    }

    #[test]
    fn capabilities() {
        for (number, name) in [
            (0, "CAP_CHOWN"),
            (1, "CAP_DAC_OVERRIDE"),
            (40, "CAP_CHECKPOINT_RESTORE"),
            (41, ""),
            (-1, ""),
        ] {
            let expected = wire::KprobeCapability { value: Some(number), name: name.into() };
            let shown = of(TypeName::Capability, Observed::Int(number));
            assert_eq!(shown, Arg::CapabilityArg(expected));
        }
    }

    #[test]
    fn texts_and_buffers() {
        let bytes = |bytes: &[u8], original| Observed::Bytes { bytes: bytes.to_vec(), original };
        let truncated = wire::KprobeTruncatedBytes { bytes_arg: b"ab".to_vec(), orig_size: 9 };
        let cases = [
            (
                TypeName::String,
                Observed::Text(b"a\xff\xffb".to_vec()),
                Arg::StringArg("a\u{fffd}b".into()),
            ),
            (TypeName::CharBuf, bytes(b"a\0\xff", None), Arg::BytesArg(b"a\0\xff".to_vec())),
            (TypeName::CharBuf, bytes(b"ab", Some(2)), Arg::BytesArg(b"ab".to_vec())),
            (TypeName::CharBuf, bytes(b"ab", Some(9)), Arg::TruncatedBytesArg(truncated)),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(of(kind, value.clone()), expected, "{kind} {value:?}");
        }
    }

    #[test]
    fn files() {
        let permission = || "-rwxr-xr-x".to_owned();
        let (mount, flags) = (String::new(), String::new());
        let path = "/bin/ls".to_owned();
        assert_eq!(
            of(TypeName::Fd, Observed::File(path_of("/bin/ls"))),
            Arg::FileArg(wire::KprobeFile {
                mount: mount.clone(),
                path: path.clone(),
                flags: flags.clone(),
                permission: permission()
            })
        );
        assert_eq!(
            of(TypeName::Dentry, Observed::Path(path_of("/bin/ls"))),
            Arg::PathArg(wire::KprobePath {
                mount,
                path: path.clone(),
                flags: flags.clone(),
                permission: permission()
            })
        );
        assert_eq!(
            of(TypeName::LinuxBinprm, Observed::Binprm(path_of("/bin/ls"))),
            Arg::LinuxBinprmArg(wire::KprobeLinuxBinprm { path, flags, permission: permission() })
        );
    }

    #[test]
    fn network() {
        let socket = Socket {
            family: 2,
            kind: 1,
            protocol: 6,
            state: 1,
            mark: 0,
            priority: 0,
            source: end(),
            destination: end(),
            cookie: 1,
        };
        let Arg::SockArg(shown) = of(TypeName::Sock, Observed::Socket(Box::new(socket))) else {
            panic!()
        };
        assert_eq!(shown.state, "TCP_ESTABLISHED");
        let buffer = SocketBuffer {
            family: 2,
            protocol: 6,
            hash: 0,
            length: 40,
            priority: 0,
            mark: 0,
            source: end(),
            destination: end(),
            security_path_length: 0,
            security_path_offset: 0,
        };
        let Arg::SkbArg(shown) = of(TypeName::Skb, Observed::Buffer(Box::new(buffer))) else {
            panic!()
        };
        assert_eq!(shown.len, 40);
        let address = Observed::Address(SocketAddress { family: 2, end: end() });
        assert!(
            matches!(of(TypeName::Sockaddr, address), Arg::SockaddrArg(shown) if shown.port == 80)
        );
        let address = Observed::UnixAddress { family: 1, path: b"\0x".to_vec() };
        assert!(
            matches!(of(TypeName::SockaddrUn, address), Arg::SockaddrunArg(shown) if shown.path == "@x")
        );
    }

    #[test]
    fn credentials() {
        let creds = Creds {
            euid: 1000,
            cap_effective: 1 << 21,
            user_ns: UserNs { inum: 9, ..UserNs::default() },
            ..Creds::default()
        };
        let value = Observed::Credentials(Box::new(creds));
        let Arg::ProcessCredentialsArg(shown) = of(TypeName::Cred, value) else { panic!() };
        assert_eq!(shown.euid, Some(1000));
        assert_eq!(shown.caps.unwrap().effective, [wire::CapabilitiesType::CapSysAdmin as i32]);
        assert!(shown.user_ns.unwrap().ns.unwrap().is_host);
    }

    #[test]
    fn system_calls() {
        let (native, compat) = match Abi::native() {
            Some(Abi::Arm64) => ("arm64", "arm32"),
            _ => ("x64", "i386"),
        };
        for (is_compat, abi) in [(false, native), (true, compat)] {
            let value = Observed::Syscall { number: 59, compat: is_compat };
            let expected = wire::SyscallId { id: 59, abi: abi.to_owned() };
            assert_eq!(of(TypeName::Syscall64, value), Arg::SyscallId(expected));
        }
    }

    #[test]
    fn an_array_is_an_argument_for_each_element() {
        let given = observation(kprobe(), "", Identity { ktime: 1, pid: 10 }, 10);
        let host = HostNamespaces::default();
        let values = vec![
            Some(Observed::Values(vec![Observed::Size(1), Observed::Size(2)])),
            Some(Observed::Int(3)),
        ];
        let list = Arguments { host: &host, labels: false }.list(&given.hook.args, values);
        let args: Vec<_> = list.into_iter().filter_map(|argument| argument.arg).collect();
        assert_eq!(args, [Arg::SizeArg(1), Arg::SizeArg(2), Arg::IntArg(3)]);
    }

    #[test]
    fn a_user_namespace() {
        let level = |level, inum| {
            let namespace = UserNs { level, owner: 1, group: 2, inum };
            of(TypeName::UserNamespace, Observed::UserNamespace(namespace))
        };
        let expected = |level, inum, is_host| {
            Arg::UserNsArg(wire::UserNamespace {
                level: Some(level),
                uid: Some(1),
                gid: Some(2),
                ns: Some(wire::Namespace { inum, is_host }),
            })
        };
        assert_eq!(level(0, 9), expected(0, 9, true));
        assert_eq!(level(1, 10), expected(1, 10, false));
    }

    #[test]
    fn faults() {
        let resolve = "Bad address encountered during resolve dereference at depth 3";
        let error = |text: &str| super::error(text.to_owned());
        let cases = [
            (TypeName::Int, Fault::Address, error("Bad address for basic type")),
            (TypeName::String, Fault::Address, error("Bad address for basic type")),
            (TypeName::Uint64, Fault::Resolve(3), error(resolve)),
            (TypeName::File, Fault::Room, error("No room left in the event")),
            (TypeName::CharBuf, Fault::Address, Arg::BytesArg(b"CharBufErrorPageFault".to_vec())),
            (TypeName::CharBuf, Fault::Room, Arg::BytesArg(b"CharBufErrorBufTooLarge".to_vec())),
            (TypeName::CharBuf, Fault::Resolve(3), error(resolve)),
        ];
        for (kind, fault, expected) in cases {
            assert_eq!(of(kind, Observed::Fault(fault)), expected, "{kind} {fault:?}");
        }
    }
}
