//! Instructions to bytes and back.

#![allow(clippy::unwrap_used)] // helpers of tests, outside test functions

use ebpf::insn::{
    AluOp, AtomicOp, ByteOrder, Cond, DecodeReason, Imm64, Insn, Reg, Size, Source, Width, decode,
    encode,
};
use proptest::prelude::*;

fn reg() -> impl Strategy<Value = Reg> {
    (0..=10u8).prop_map(|index| Reg::new(index).unwrap())
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![reg().prop_map(Source::Reg), any::<i32>().prop_map(Source::Imm)]
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::W32), Just(Width::W64)]
}

fn size() -> impl Strategy<Value = Size> {
    prop::sample::select(Size::ALL.to_vec())
}

fn atomic_size() -> impl Strategy<Value = Size> {
    prop_oneof![Just(Size::U32), Just(Size::U64)]
}

fn swap_size() -> impl Strategy<Value = Size> {
    prop::sample::select(vec![Size::U16, Size::U32, Size::U64])
}

fn order() -> impl Strategy<Value = ByteOrder> {
    prop::sample::select(vec![ByteOrder::Little, ByteOrder::Big, ByteOrder::Swap])
}

fn imm64() -> impl Strategy<Value = Imm64> {
    prop_oneof![
        any::<u64>().prop_map(Imm64::Value),
        any::<i32>().prop_map(Imm64::MapFd),
        any::<(i32, u32)>().prop_map(|(fd, offset)| Imm64::MapValue { fd, offset }),
        any::<i32>().prop_map(Imm64::MapIdx),
        any::<(i32, u32)>().prop_map(|(idx, offset)| Imm64::MapIdxValue { idx, offset }),
        any::<(i32, i32)>().prop_map(|(id, btf_fd)| Imm64::BtfId { id, btf_fd }),
        any::<i32>().prop_map(Imm64::Func),
    ]
}

fn alu_insn() -> impl Strategy<Value = Insn> {
    let op = prop::sample::select(AluOp::ALL.to_vec());
    prop_oneof![
        (width(), op, reg(), source()).prop_map(|(width, op, dst, src)| Insn::Alu {
            width,
            op,
            dst,
            src
        }),
        (width(), reg()).prop_map(|(width, dst)| Insn::Neg { width, dst }),
        (width(), reg(), source()).prop_map(|(width, dst, src)| Insn::Mov { width, dst, src }),
        (width(), size(), reg(), reg()).prop_filter_map("too wide", |(width, from, dst, src)| {
            (from.bits() < width.bits()).then_some(Insn::MovSext { width, from, dst, src })
        }),
        (order(), swap_size(), reg()).prop_map(|(order, size, dst)| Insn::Swap {
            order,
            size,
            dst
        }),
        (reg(), imm64()).prop_map(|(dst, imm)| Insn::LoadImm64 { dst, imm }),
    ]
}

fn memory_insn() -> impl Strategy<Value = Insn> {
    let op = prop::sample::select(AtomicOp::ALL.to_vec());
    prop_oneof![
        (size(), any::<bool>(), reg(), reg(), any::<i16>()).prop_map(
            |(size, signed, dst, base, off)| {
                Insn::Load { size, signed: signed && size != Size::U64, dst, base, off }
            }
        ),
        (size(), reg(), any::<i16>(), source()).prop_map(|(size, base, off, src)| Insn::Store {
            size,
            base,
            off,
            src
        }),
        (op, any::<bool>(), atomic_size(), reg(), any::<i16>(), reg()).prop_map(
            |(op, fetch, size, base, off, src)| Insn::Atomic { op, fetch, size, base, off, src }
        ),
        (atomic_size(), reg(), any::<i16>(), reg()).prop_map(|(size, base, off, src)| Insn::Xchg {
            size,
            base,
            off,
            src
        }),
        (atomic_size(), reg(), any::<i16>(), reg())
            .prop_map(|(size, base, off, src)| Insn::CmpXchg { size, base, off, src }),
    ]
}

fn jump_insn() -> impl Strategy<Value = Insn> {
    let cond = prop::sample::select(Cond::ALL.to_vec());
    prop_oneof![
        any::<i16>().prop_map(|off| Insn::Jump { off }),
        any::<i32>().prop_map(|off| Insn::JumpLong { off }),
        any::<i16>().prop_map(|off| Insn::MayGoto { off }),
        (width(), cond, reg(), source(), any::<i16>())
            .prop_map(|(width, cond, dst, src, off)| Insn::Branch { width, cond, dst, src, off }),
        any::<u32>().prop_map(|id| Insn::CallHelper { id }),
        any::<i32>().prop_map(|off| Insn::CallFunc { off }),
        any::<(i32, i16)>()
            .prop_map(|(btf_id, btf_fd_index)| Insn::CallKfunc { btf_id, btf_fd_index }),
        Just(Insn::Exit),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        insns in prop::collection::vec(prop_oneof![alu_insn(), memory_insn(), jump_insn()], 0..50)
    ) {
        let bytes = encode(&insns);
        prop_assert_eq!(bytes.len(), 8 * insns.iter().map(Insn::slots).sum::<usize>());
        prop_assert_eq!(decode(&bytes).unwrap(), insns);
    }

    #[test]
    fn what_decodes_encodes_to_the_same(
        slots in prop::collection::vec((any::<u8>(), any::<u8>(), 0..3i16, 0..3i32), 1..4)
    ) {
        let mut bytes = Vec::new();
        for (code, regs, off, imm) in slots {
            bytes.extend([code, regs]);
            bytes.extend(off.to_ne_bytes());
            bytes.extend(imm.to_ne_bytes());
        }
        if let Ok(insns) = decode(&bytes) {
            prop_assert_eq!(encode(&insns), bytes);
        }
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(insns) = decode(&bytes) {
            prop_assert_eq!(encode(&insns), bytes);
        }
    }
}

/// Bytes as the kernel's headers define them, and the text that its disassembler gives.
#[test]
#[cfg(target_endian = "little")]
fn bytes_and_text_are_the_kernels() {
    let cases: &[(&[u8], &str)] = &[
        (&[0xb7, 0, 0, 0, 0, 0, 0, 0], "r0 = 0"),
        (&[0xb4, 1, 0, 0, 0xff, 0xff, 0xff, 0xff], "w1 = -1"),
        (&[0xbc, 0x10, 0, 0, 0, 0, 0, 0], "w0 = w1"),
        (&[0xbf, 0xa2, 0, 0, 0, 0, 0, 0], "r2 = r10"),
        (&[0xbf, 0x21, 32, 0, 0, 0, 0, 0], "r1 = (s32)r2"),
        (&[0x07, 2, 0, 0, 0xf8, 0xff, 0xff, 0xff], "r2 += -8"),
        (&[0x3f, 0x21, 1, 0, 0, 0, 0, 0], "r1 s/= r2"),
        (&[0x9c, 0x21, 0, 0, 0, 0, 0, 0], "w1 %= w2"),
        (&[0xc7, 3, 0, 0, 32, 0, 0, 0], "r3 s>>= 32"),
        (&[0x87, 3, 0, 0, 0, 0, 0, 0], "r3 = -r3"),
        (&[0xdc, 1, 0, 0, 16, 0, 0, 0], "r1 = be16 r1"),
        (&[0xd7, 1, 0, 0, 64, 0, 0, 0], "r1 = bswap64 r1"),
        (&[0x79, 0xa1, 0xf8, 0xff, 0, 0, 0, 0], "r1 = *(u64 *)(r10 -8)"),
        (&[0x91, 0x21, 4, 0, 0, 0, 0, 0], "r1 = *(s8 *)(r2 +4)"),
        (&[0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0], "*(u64 *)(r10 -16) = r1"),
        (&[0x62, 10, 0xfc, 0xff, 7, 0, 0, 0], "*(u32 *)(r10 -4) = 7"),
        (&[0xdb, 0x21, 0, 0, 0, 0, 0, 0], "lock *(u64 *)(r1 +0) += r2"),
        (&[0xdb, 0x21, 0, 0, 1, 0, 0, 0], "r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)"),
        (&[0xc3, 0x21, 0, 0, 0xe1, 0, 0, 0], "r2 = atomic_xchg((u32 *)(r1 +0), r2)"),
        (&[0xdb, 0x21, 8, 0, 0xf1, 0, 0, 0], "r0 = atomic64_cmpxchg((u64 *)(r1 +8), r0, r2)"),
        (&[0x65, 1, 3, 0, 5, 0, 0, 0], "if r1 s> 0x5 goto pc+3"),
        (&[0x1e, 0x21, 0xfe, 0xff, 0, 0, 0, 0], "if w1 == w2 goto pc-2"),
        (&[0x45, 1, 1, 0, 0xff, 0xff, 0xff, 0xff], "if r1 & 0xffffffff goto pc+1"),
        (&[0x05, 0, 5, 0, 0, 0, 0, 0], "goto pc+5"),
        (&[0x06, 0, 0, 0, 0, 0, 1, 0], "gotol pc+65536"),
        (&[0xe5, 0, 2, 0, 0, 0, 0, 0], "may_goto pc+2"),
        (&[0x85, 0, 0, 0, 1, 0, 0, 0], "call bpf_map_lookup_elem#1"),
        (&[0x85, 0x10, 0, 0, 4, 0, 0, 0], "call pc+4"),
        (&[0x85, 0x20, 0, 0, 9, 0, 0, 0], "call kernel-function#9"),
        (&[0x95, 0, 0, 0, 0, 0, 0, 0], "exit"),
        (&[0x18, 0x11, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "r1 = map[fd:5]"),
        (&[0x18, 0x21, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0], "r1 = map[fd:5][0]+8"),
        (&[0x18, 0x42, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "r2 = subprog[+9]"),
        (&[0x18, 3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], "r3 = 0x200000001"),
    ];
    for (bytes, text) in cases {
        let insns = decode(bytes).unwrap();
        assert_eq!(insns.len(), 1, "{text}");
        assert_eq!(insns[0].to_string(), *text);
        assert_eq!(encode(&insns), *bytes, "{text}");
    }
}

#[test]
#[cfg(target_endian = "little")]
fn errors_say_where_and_why() {
    let exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
    let check = |bytes: &[u8], reason: DecodeReason| {
        let all = [&exit[..], bytes].concat();
        let error = decode(&all).unwrap_err();
        assert_eq!((error.index, error.reason), (1, reason));
    };
    check(&[0x95, 0, 0], DecodeReason::Short(3));
    check(&[0x18, 0, 0, 0, 0, 0, 0, 0], DecodeReason::NoSecondHalf);
    check(&[0xff, 0, 0, 0, 0, 0, 0, 0], DecodeReason::Opcode(0xff));
    check(&[0x20, 0, 0, 0, 0, 0, 0, 0], DecodeReason::Opcode(0x20));
    check(&[0xbf, 0xb0, 0, 0, 0, 0, 0, 0], DecodeReason::Register(11));
    check(&[0x95, 1, 0, 0, 0, 0, 0, 0], DecodeReason::Reserved { code: 0x95, field: "dst" });
    check(
        &[0xd4, 0, 0, 0, 17, 0, 0, 0],
        DecodeReason::Field { code: 0xd4, field: "imm", value: 17 },
    );
    let mut load = [0; 16];
    load[0] = 0x18;
    load[9] = 1;
    check(&load, DecodeReason::BadSecondHalf);
}
