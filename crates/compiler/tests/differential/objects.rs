//! Structures of the kernel as arguments, made up in its memory: what a program is given, and what it is
//! to capture of it. Both follow from the value and from a sequence of words.

use crate::arena::Arena;
use crate::packet::{self, Layout};
use crate::real::{Memory, Words, keep};
use compiler::base::record::{Creds, UserNs};
use compiler::observed::{
    BpfMap, BpfProgram, End, Fault, Module, Observed, PerfEvent, Socket, SocketBuffer,
};
use kernel::btf::Btf;
use policy::document::TypeName;
use policy::evaluate::{self, Value};

/// Whether values of the type are made here, on a kernel with these types.
pub(crate) fn can_be_made(kind: TypeName, btf: &Btf) -> bool {
    use TypeName as T;
    let structure = match kind {
        T::KernelCapT | T::CapInheritable | T::CapPermitted | T::CapEffective | T::BpfAttr => {
            return true;
        }
        T::Filename => "filename",
        T::NetDevice => "net_device",
        T::IovIter => "iov_iter",
        T::Sock => "sock",
        T::Socket => "socket",
        T::Skb => "sk_buff",
        T::Cred => "cred",
        T::UserNamespace => "user_namespace",
        T::BpfProg => "bpf_prog",
        T::BpfMap => "bpf_map",
        T::PerfEvent => "perf_event",
        T::Module => "module",
        T::LoadInfo => "load_info",
        _ => return false,
    };
    btf.find_struct(structure).is_ok()
}

/// `IFNAMSIZ`, without NUL
const DEVICE_NAME_MAX: usize = 15;

/// The address of the `struct sock` of a made-up value.
pub(crate) fn sock(arena: &Arena, kind: TypeName, address: u64) -> u64 {
    if kind != TypeName::Socket || address == 0 {
        return address;
    }
    let socket = arena.btf.find_struct("socket").unwrap();
    arena.word(address + u64::from(arena.btf.field(socket, "sk").unwrap().offset))
}

/// Makes a value one that such an object can have.
pub(crate) fn fit(kind: TypeName, value: &mut Value, words: &mut Words) {
    match (kind, &mut *value) {
        (TypeName::NetDevice, Value::Text(text)) => text.truncate(DEVICE_NAME_MAX),
        (TypeName::Skb, Value::Socket(socket)) => packet::fit(socket, &Layout::new(words)),
        // Pages, which cannot be read.
        (TypeName::IovIter, Value::Text(_)) if Data::new(words) == Data::Pages => {
            *value = Value::Fault;
        }
        _ => {}
    }
}

/// Where the data of an iterator are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Single,
    Segments,
    KernelSegments,
    Pages,
}

impl Data {
    fn new(words: &mut Words) -> Self {
        match words.below(12) {
            0..=3 => Self::Single,
            4..=7 => Self::Segments,
            8..=10 => Self::KernelSegments,
            _ => Self::Pages,
        }
    }
}

/// Text of letters, shorter than `bound`.
fn name(words: &mut Words, bound: usize) -> Vec<u8> {
    (0..words.below(bound)).map(|_| b'a' + words.below(26) as u8).collect()
}

fn namespace(words: &mut Words) -> UserNs {
    let [level, owner, group, inum] = [(); 4].map(|()| words.next() as u32);
    UserNs { level: level as i32, owner, group, inum }
}

/// What is to be captured; `address`: of the structure.
pub(crate) fn observed(
    btf: &Btf,
    kind: TypeName,
    value: &Value,
    words: &mut Words,
    address: u64,
) -> Option<Observed> {
    use TypeName as T;
    Some(match (kind, value) {
        (T::IovIter, Value::Fault) if Data::new(words) == Data::Pages => {
            Observed::Bytes { bytes: Vec::new(), original: Some(1 + words.below(5000) as u64) }
        }
        (_, Value::Fault) => Observed::Fault(Fault::Address),
        (_, Value::CapabilitySet(set)) => Observed::Size(*set),
        (T::Sock | T::Socket, Value::Socket(socket)) => {
            let [kind, mark, priority] = [(); 3].map(|()| words.next() as u32);
            Observed::Socket(Box::new(Socket {
                family: socket.family,
                kind: kind as u16,
                protocol: socket.protocol.unwrap_or(0),
                state: socket.state.unwrap_or(0),
                mark,
                priority,
                source: end(socket.source),
                destination: end(socket.destination),
                cookie: address,
            }))
        }
        (T::Skb, Value::Socket(socket)) => {
            let layout = Layout::new(words);
            let security = layout.security.filter(|_| packet::security_extension(btf).is_some());
            let [hash, length, priority, mark] = [(); 4].map(|()| words.next() as u32);
            Observed::Buffer(Box::new(SocketBuffer {
                family: socket.family,
                protocol: socket.protocol.unwrap_or(0),
                hash,
                length,
                priority,
                mark,
                source: end(socket.source),
                destination: end(socket.destination),
                security_path_length: security.map_or(0, |(length, _)| length),
                security_path_offset: security.map_or(0, |(_, offset)| offset),
            }))
        }
        (T::Cred, _) => {
            let mut ids = [(); 9].map(|()| words.next() as u32).into_iter();
            let mut id = || ids.next().unwrap();
            let [uid, gid, euid, egid, suid, sgid, fsuid, fsgid, securebits] =
                [(); 9].map(|()| id());
            let [inheritable, permitted, effective, bounding, ambient] =
                [(); 5].map(|()| words.next());
            Observed::Credentials(Box::new(Creds {
                uid,
                gid,
                euid,
                egid,
                suid,
                sgid,
                fsuid,
                fsgid,
                securebits,
                cap_inheritable: inheritable,
                cap_permitted: permitted,
                cap_effective: effective,
                cap_bounding: bounding,
                cap_ambient: ambient,
                user_ns: namespace(words),
            }))
        }
        (T::UserNamespace, _) => Observed::UserNamespace(namespace(words)),
        (T::BpfAttr, _) => Observed::BpfAttributes(program(words)),
        (T::BpfProg, _) => Observed::BpfProgram(program(words)),
        (T::BpfMap, _) => {
            let [kind, key_size, value_size, entries] = [(); 4].map(|()| words.next() as u32);
            Observed::BpfMap(BpfMap { kind, key_size, value_size, entries, name: name(words, 17) })
        }
        (T::PerfEvent, _) => {
            let kind = words.below(12) as u32;
            let function = if kind < 6 { Vec::new() } else { name(words, 600) };
            let [config, offset] = [(); 2].map(|()| words.next());
            let function = function[..function.len().min(511)].to_vec();
            Observed::PerfEvent(PerfEvent { kind, config, offset, function })
        }
        (T::Module, _) => Observed::Module(Module {
            name: name(words, 56),
            taints: words.next(),
            signature_ok: None,
        }),
        (T::LoadInfo, _) => {
            let taints = if words.below(3) == 0 { 0 } else { words.next() };
            let signature_ok = Some(words.below(2) == 1);
            Observed::Module(Module { name: name(words, 56), taints, signature_ok })
        }
        _ => return None,
    })
}

fn end(end: evaluate::End) -> End {
    End { address: end.address, port: end.port.unwrap_or(0) }
}

fn program(words: &mut Words) -> BpfProgram {
    let [kind, instructions] = [(); 2].map(|()| words.next() as u32);
    BpfProgram { kind, instructions, name: name(words, 17) }
}

/// What a program is given: the address of the object; `beyond` bytes follow on a text.
pub(crate) fn make(
    memory: &mut Memory,
    kind: TypeName,
    value: &Value,
    words: &mut Words,
    beyond: usize,
) -> u64 {
    match (kind, value) {
        (TypeName::IovIter, Value::Text(bytes)) => {
            let mut whole = bytes.clone();
            whole.resize(bytes.len() + beyond, b'+');
            let data = Data::new(words);
            return iterator(memory, data, &whole, whole.len(), words);
        }
        (TypeName::IovIter, Value::Fault) if Data::new(words) == Data::Pages => {
            let length = 1 + words.below(5000);
            return iterator(memory, Data::Pages, &[], length, words);
        }
        (_, Value::Fault) => return 0,
        (_, Value::CapabilitySet(set)) => return memory.arena.keep(&set.to_ne_bytes()),
        (TypeName::Filename, Value::Text(text)) => {
            let filename = memory.arena.structure("filename");
            let text = [&text[..], &vec![b'+'; beyond]].concat();
            let text = memory.arena.text(&text);
            memory.arena.number(&filename, "name", text);
            return filename.address;
        }
        (TypeName::NetDevice, Value::Text(text)) => {
            let device = memory.arena.structure("net_device");
            memory.arena.put(&device, "name", text);
            return device.address;
        }
        _ => {}
    }
    let arena = &mut memory.arena;
    let mut again = words.clone();
    let Some(seen) = observed(&arena.btf, kind, value, words, 0) else {
        panic!("{value:?} of type {kind} cannot be made up")
    };
    match seen {
        Observed::Socket(socket) => {
            let sock = self::socket(arena, &socket);
            if kind == TypeName::Sock {
                return sock;
            }
            let socket = arena.structure("socket");
            arena.number(&socket, "sk", sock);
            socket.address
        }
        Observed::Buffer(buffer) => {
            let Value::Socket(socket) = value else { panic!("{value:?}") };
            packet::make(arena, &Layout::new(&mut again), &buffer, socket)
        }
        Observed::Credentials(creds) => credentials(arena, &creds),
        Observed::UserNamespace(seen) => user_namespace(arena, seen),
        Observed::BpfAttributes(program) => {
            let mut bytes = vec![0xff; 128];
            bytes[..4].copy_from_slice(&program.kind.to_ne_bytes());
            bytes[4..8].copy_from_slice(&program.instructions.to_ne_bytes());
            bytes[48..64].fill(0);
            bytes[48..48 + program.name.len()].copy_from_slice(&program.name);
            let kernel = memory.image.is_none() && words.below(2) == 0;
            if kernel { memory.arena.keep(&bytes) } else { keep(memory, bytes) }
        }
        Observed::BpfProgram(program) => {
            let aux = arena.structure("bpf_prog_aux");
            arena.put(&aux, "name", &program.name);
            let made = arena.structure("bpf_prog");
            arena.number(&made, "type", program.kind.into());
            arena.number(&made, "len", program.instructions.into());
            arena.number(&made, "aux", aux.address);
            made.address
        }
        Observed::BpfMap(map) => {
            let made = arena.structure("bpf_map");
            arena.number(&made, "map_type", map.kind.into());
            arena.number(&made, "key_size", map.key_size.into());
            arena.number(&made, "value_size", map.value_size.into());
            arena.number(&made, "max_entries", map.entries.into());
            arena.put(&made, "name", &map.name);
            made.address
        }
        Observed::PerfEvent(event) => {
            let made = arena.structure("perf_event");
            arena.number(&made, "attr.type", event.kind.into());
            arena.number(&made, "attr.config", event.config);
            arena.number(&made, "attr.probe_offset", event.offset);
            if !event.function.is_empty() {
                let more = if event.function.len() == 511 { b"+".as_slice() } else { b"" };
                let text = arena.text(&[&event.function, more].concat());
                arena.number(&made, "attr.kprobe_func", text);
            }
            made.address
        }
        Observed::Module(module) => {
            let made = arena.structure("module");
            arena.number(&made, "taints", module.taints);
            if kind == TypeName::Module {
                arena.put(&made, "name", &module.name);
                return made.address;
            }
            let info = arena.structure("load_info");
            let name = arena.text(&module.name);
            arena.number(&info, "name", name);
            arena.number(&info, "sig_ok", module.signature_ok.unwrap().into());
            if module.taints != 0 {
                arena.number(&info, "mod", made.address);
            }
            info.address
        }
        other => panic!("{other:?} of type {kind} cannot be made up"),
    }
}

fn socket(arena: &mut Arena, socket: &Socket) -> u64 {
    let made = arena.structure("sock");
    let common = |member: &str| format!("__sk_common.{member}");
    arena.number(&made, &common("skc_family"), socket.family.into());
    arena.number(&made, &common("skc_state"), socket.state.into());
    arena.number(&made, "sk_type", socket.kind.into());
    arena.number(&made, "sk_protocol", socket.protocol.into());
    arena.number(&made, "sk_mark", socket.mark.into());
    arena.number(&made, "sk_priority", socket.priority.into());
    for (end, four, six) in [
        (&socket.source, "skc_rcv_saddr", "skc_v6_rcv_saddr"),
        (&socket.destination, "skc_daddr", "skc_v6_daddr"),
    ] {
        match end.address {
            Some(std::net::IpAddr::V4(address)) => {
                arena.put(&made, &common(four), &address.octets());
            }
            Some(std::net::IpAddr::V6(address)) => {
                arena.put(&made, &common(six), &address.octets());
            }
            None => arena.put(&made, &common(four), &[0xaa; 4]),
        }
    }
    arena.number(&made, &common("skc_num"), socket.source.port.into());
    arena.put(&made, &common("skc_dport"), &socket.destination.port.to_be_bytes());
    made.address
}

fn user_namespace(arena: &mut Arena, seen: UserNs) -> u64 {
    let made = arena.structure("user_namespace");
    arena.number(&made, "level", (seen.level as u32).into());
    arena.number(&made, "owner.val", seen.owner.into());
    arena.number(&made, "group.val", seen.group.into());
    arena.number(&made, "ns.inum", seen.inum.into());
    made.address
}

fn credentials(arena: &mut Arena, creds: &Creds) -> u64 {
    let namespace = user_namespace(arena, creds.user_ns);
    let made = arena.structure("cred");
    arena.number(&made, "user_ns", namespace);
    for (member, number) in [
        ("uid.val", creds.uid),
        ("gid.val", creds.gid),
        ("euid.val", creds.euid),
        ("egid.val", creds.egid),
        ("suid.val", creds.suid),
        ("sgid.val", creds.sgid),
        ("fsuid.val", creds.fsuid),
        ("fsgid.val", creds.fsgid),
        ("securebits", creds.securebits),
    ] {
        arena.number(&made, member, number.into());
    }
    for (member, set) in [
        ("cap_inheritable", creds.cap_inheritable),
        ("cap_permitted", creds.cap_permitted),
        ("cap_effective", creds.cap_effective),
        ("cap_bset", creds.cap_bounding),
        ("cap_ambient", creds.cap_ambient),
    ] {
        arena.put(&made, member, &set.to_ne_bytes());
    }
    made.address
}

/// An iterator over bytes; of pages, which are nowhere, only how many bytes there are.
fn iterator(memory: &mut Memory, data: Data, whole: &[u8], count: usize, words: &mut Words) -> u64 {
    let single = memory.arena.btf.enumerator("iter_type", "ITER_UBUF");
    let skip = words.below(20);
    let name = match (data, single) {
        (Data::Single, Some(_)) => "ITER_UBUF",
        (Data::Single | Data::Segments, _) => "ITER_IOVEC",
        (Data::KernelSegments, _) => "ITER_KVEC",
        (Data::Pages, _) => "ITER_BVEC",
    };
    let kind = memory.arena.btf.enumerator("iter_type", name).unwrap();
    // What was gone over before stands before the rest, and something behind the end.
    let bytes = [&vec![b'-'; skip], whole, b"behind"].concat();
    let start = match name {
        "ITER_UBUF" => keep(memory, bytes),
        "ITER_BVEC" => 0,
        _ => {
            let mut rest = bytes.as_slice();
            let mut segments = Vec::new();
            // The first one is not shorter than what was gone over of it.
            let mut least = skip;
            while !rest.is_empty() {
                let bound = words.of(&[1, 4, 100, 5000]);
                let length = least + words.below(bound + 1);
                let length = if segments.len() < 16 * 900 { length } else { rest.len() };
                let (piece, more) = rest.split_at(length.min(rest.len()));
                let at = match name {
                    "ITER_KVEC" => memory.arena.keep(piece),
                    _ => keep(memory, piece.to_vec()),
                };
                segments.extend(at.to_ne_bytes());
                segments.extend((piece.len() as u64).to_ne_bytes());
                (rest, least) = (more, 0);
            }
            memory.arena.keep(&segments)
        }
    };
    let arena = &mut memory.arena;
    let made = arena.structure("iov_iter");
    arena.number(&made, "iter_type", kind as u64);
    arena.number(&made, "iov_offset", skip as u64);
    arena.number(&made, "count", count as u64);
    arena.number_of(&made, &["__iov", "iov"], start);
    made.address
}
