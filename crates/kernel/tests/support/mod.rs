//! What the tests on the running kernel share: skipping out loud, instructions, programs.
#![allow(dead_code, unreachable_pub)] // each test binary uses a part of it
#![allow(clippy::unwrap_used)] // a failure here fails the test

use std::sync::OnceLock;

use kernel::btf::{Btf, TypeId};
use kernel::capability::{self, Capabilities};
use kernel::map::{Map, MapFlags, MapSpec, MapType};
use kernel::program::{AttachType, ProgramSpec, ProgramType, Target};

/// Ends the test with a reason, which is printed past the test harness: it shows in passing runs too.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::support::say_skipped(&format!($($reason)*));
        return;
    }};
}

/// Prints that this test was skipped.
pub fn say_skipped(reason: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // In one piece: other tests print too.
    std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes()).unwrap();
}

/// Skips the test unless this process may use BPF.
#[macro_export]
macro_rules! need_bpf {
    () => {
        if !$crate::support::may_use_bpf() {
            $crate::skip!("needs root");
        }
    };
}

/// Whether this process has the capabilities for everything here.
pub fn may_use_bpf() -> bool {
    capability::effective().unwrap().contains(Capabilities::SYS_ADMIN)
}

/// The running kernel's BTF.
pub fn vmlinux() -> &'static Btf {
    static BTF: OnceLock<Btf> = OnceLock::new();
    BTF.get_or_init(|| Btf::vmlinux::<&str>(&[]).unwrap())
}

/// A typedef or function of the kernel's that a program can be loaded for.
pub fn target(name: &str) -> Option<TypeId> {
    vmlinux().find_func(name).or_else(|_| vmlinux().find_typedef(name)).ok()
}

/// BTF with `unsigned int` of 4 bytes as type 1 and of 8 as type 2, as map keys and values want them.
pub fn int_btf() -> Vec<u8> {
    let strings = b"\0u32\0u64\0";
    let int = |name: u32, size: u32| [name, 1 << 24, size, size * 8].map(u32::to_ne_bytes).concat();
    let types = [int(1, 4), int(5, 8)].concat();
    let header = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
    let magic = [0xeb9f_u16.to_ne_bytes(), [1, 0]].concat();
    [magic, header.map(u32::to_ne_bytes).concat(), types, strings.to_vec()].concat()
}

/// An instruction: opcode, destination, source, offset, immediate.
pub fn insn(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let [o0, o1] = off.to_ne_bytes();
    let [i0, i1, i2, i3] = imm.to_ne_bytes();
    [op, dst | src << 4, o0, o1, i0, i1, i2, i3]
}

/// `dst = imm`
pub fn mov(dst: u8, imm: i32) -> [u8; 8] {
    insn(0xb7, dst, 0, 0, imm)
}

/// `dst = src`
pub fn copy(dst: u8, src: u8) -> [u8; 8] {
    insn(0xbf, dst, src, 0, 0)
}

/// `dst += imm`
pub fn add(dst: u8, imm: i32) -> [u8; 8] {
    insn(0x07, dst, 0, 0, imm)
}

/// `*(u64 *)(dst + off) = src`
pub fn store(dst: u8, off: i16, src: u8) -> [u8; 8] {
    insn(0x7b, dst, src, off, 0)
}

/// `dst = *(u64 *)(src + off)`
pub fn load(dst: u8, src: u8, off: i16) -> [u8; 8] {
    insn(0x79, dst, src, off, 0)
}

/// `call helper`
pub fn call(helper: i32) -> [u8; 8] {
    insn(0x85, 0, 0, 0, helper)
}

/// `exit`
pub fn exit() -> [u8; 8] {
    insn(0x95, 0, 0, 0, 0)
}

/// `dst = map`
pub fn load_map(dst: u8, map: &Map) -> [[u8; 8]; 2] {
    use std::os::fd::{AsFd, AsRawFd};
    [insn(0x18, dst, 1, 0, map.as_fd().as_raw_fd()), insn(0, 0, 0, 0, 0)]
}

/// A program that does nothing.
pub fn nothing() -> Vec<u8> {
    [mov(0, 0), exit()].concat()
}

/// A program that writes the ids of the current task (tgid << 32 | pid) to a ring buffer, with
/// `flags` of bpf_ringbuf_output.
pub fn report_pid(ring: &Map) -> Vec<u8> {
    let [first, second] = load_map(1, ring);
    [
        call(14), // bpf_get_current_pid_tgid
        store(10, -8, 0),
        first,
        second,
        copy(2, 10),
        add(2, -8),
        mov(3, 8),
        mov(4, 0),
        call(130), // bpf_ringbuf_output
        mov(0, 0),
        exit(),
    ]
    .concat()
}

/// A raw_tracepoint program.
pub fn raw_tracepoint<'a>(name: &'a str, instructions: &'a [u8]) -> ProgramSpec<'a> {
    let program_type = ProgramType::RAW_TRACEPOINT;
    ProgramSpec { name, program_type, instructions, ..ProgramSpec::default() }
}

/// A program with typed arguments.
pub fn tracing<'a>(
    name: &'a str,
    attach_type: AttachType,
    target: TypeId,
    instructions: &'a [u8],
) -> ProgramSpec<'a> {
    ProgramSpec {
        name,
        program_type: ProgramType::TRACING,
        attach_type,
        target: Target::Kernel(target),
        instructions,
        ..ProgramSpec::default()
    }
}

/// A map.
pub fn map_spec(map_type: MapType, key: u32, value: u32, max: u32) -> MapSpec<'static> {
    let flags = MapFlags::empty();
    MapSpec {
        name: "test",
        map_type,
        key_size: key,
        value_size: value,
        max_entries: max,
        flags,
        ..MapSpec::default()
    }
}
