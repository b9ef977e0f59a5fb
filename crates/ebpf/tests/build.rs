//! Programs from the builder to instructions.

use ebpf::{Cond, FunctionBuilder, Module, Options, Size};

#[test]
fn a_lookup_compiles_to_what_a_person_would_write() {
    let mut module = Module::new("lookup");
    let main = module.declare("main", 1);
    let counts = module.map("counts");
    let mut b = FunctionBuilder::new("main", 1);
    let key = b.slot(4, 4);
    b.slot_store(Size::U32, key, 0, 7);
    let (map, key) = (b.map(counts), b.slot_addr(key, 0));
    let value = b.call(1, &[map, key]);
    let (found, end) = (b.create_block(), b.create_block());
    b.brif(Cond::Ne, value, 0, found, end);
    b.switch_to(found);
    b.atomic(ebpf::AtomicOp::Add, Size::U64, value, 0, 1);
    b.jump(end, &[]);
    b.switch_to(end);
    b.ret(0);
    module.define(main, b.finish().unwrap());
    let program = module.compile(&Options { check_registers: true, ..Options::default() }).unwrap();
    let expected = "\
main: ; 4 bytes of stack
    0: *(u32 *)(r10 -4) = 7
    1: r1 = map[counts]
    3: r2 = r10
    4: r2 += -4
    5: call bpf_map_lookup_elem#1
    6: if r0 == 0x0 goto pc+2
    7: r1 = 1
    8: lock *(u64 *)(r0 +0) += r1
    9: r0 = 0
   10: exit
";
    assert_eq!(program.disassemble(), expected);
}
