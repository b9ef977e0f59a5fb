//! Jumps over more than 16 bits of distance, with `gotol` and over islands.

use super::machine;
use crate::insn::Insn;
use crate::{Cond, FunctionBuilder, Module, Operand, Options, Program, Size, Value};

/// Instructions that a block takes: three for each step.
fn fill(b: &mut FunctionBuilder, mut value: Value, steps: usize) -> Value {
    for step in 0..steps {
        let scaled = b.mul(value, 3);
        let turned = b.xor(scaled, step as i32);
        value = b.add(turned, 1);
    }
    value
}

/// A loop with a long body that is left, skipped and repeated over long distances; the second word of
/// the context says how.
fn module(steps: usize, cond: Cond) -> Module {
    let mut module = Module::new("far");
    let main = module.declare("main", 1);
    let mut b = FunctionBuilder::new("main", 1);
    let context = b.param(0);
    let (start, how) = (b.load(Size::U64, context, 0), b.load(Size::U64, context, 8));
    let (head, first, second, next, end) =
        (b.create_block(), b.create_block(), b.create_block(), b.create_block(), b.create_block());
    let (round, value) = (b.append_param(head), b.append_param(head));
    let result = b.append_param(end);
    let joined = b.append_param(next);
    let zero = b.iconst(0);
    b.jump(head, &[zero, start]);
    b.switch_to(head);
    b.branch(cond, how, round, first, &[], second, &[]);
    b.switch_to(first);
    let filled = fill(&mut b, value, steps);
    b.branch(Cond::Test, filled, 1, end, &[filled], next, &[filled]);
    b.switch_to(second);
    let filled = fill(&mut b, value, steps / 2);
    b.jump(next, &[filled]);
    b.switch_to(next);
    let round = b.add(round, 1);
    b.branch(Cond::Ult, round, 4, head, &[round, joined], end, &[joined]);
    b.switch_to(end);
    b.ret(result);
    module.define(main, b.finish().unwrap());
    module
}

fn compile(module: &Module, long_jumps: bool) -> Program {
    module.compile(&Options { long_jumps, ..Options::default() }).unwrap()
}

fn farthest(program: &Program) -> i32 {
    let distance = |insn: &Insn| match *insn {
        Insn::Jump { off } | Insn::Branch { off, .. } => i32::from(off).abs(),
        _ => 0,
    };
    program.insns.iter().map(distance).max().unwrap_or_default()
}

#[test]
fn far_jumps_arrive() {
    for steps in [2_000, 4_000, 15_000] {
        for cond in [Cond::Ugt, Cond::Test] {
            let module = module(steps, cond);
            let (long, islands) = (compile(&module, true), compile(&module, false));
            let is_long = |insn: &Insn| matches!(insn, Insn::JumpLong { .. });
            assert!(!islands.insns.iter().any(is_long));
            assert_eq!(long.insns.iter().any(is_long), steps > 2_000);
            assert!(farthest(&long) <= 1 << 14, "{}", farthest(&long));
            assert!(farthest(&islands) <= 1 << 14, "{}", farthest(&islands));
            for (start, how) in [(1u64, 0u64), (2, 1), (3, 2), (4, 100), (5, 3)] {
                let mut context = vec![0; 16];
                context[..8].copy_from_slice(&start.to_le_bytes());
                context[8..].copy_from_slice(&how.to_le_bytes());
                let expected = super::interpret::run(&module, &context);
                assert_eq!(machine::run(&long, &context), expected);
                assert_eq!(machine::run(&islands, &context), expected);
            }
        }
    }
}

/// Many branches to one far place share their islands.
#[test]
fn islands_are_shared() {
    let mut module = Module::new("checks");
    let main = module.declare("main", 1);
    let mut b = FunctionBuilder::new("main", 1);
    let context = b.param(0);
    let fail = b.create_block();
    let mut value: Value = b.load(Size::U64, context, 0);
    for step in 0..6_000 {
        let next = b.create_block();
        let operand: Operand = (100_000 + step).into();
        b.brif(Cond::Eq, value, operand, fail, next);
        b.switch_to(next);
        value = b.add(value, 3);
        value = b.xor(value, 5);
    }
    value = fill(&mut b, value, 10_000);
    b.ret(value);
    b.switch_to(fail);
    b.ret(-1);
    module.define(main, b.finish().unwrap());
    let (long, islands) = (compile(&module, true), compile(&module, false));
    // Three branches in steps of `gotol` cost an instruction each; islands are few.
    assert!(islands.insns.len() < long.insns.len(), "islands are not shared");
    for start in [0u64, 99_990, 100_000, 100_500] {
        let context = start.to_le_bytes();
        let expected = super::interpret::run(&module, &context);
        assert_eq!(machine::run(&islands, &context), expected);
        assert_eq!(machine::run(&long, &context), expected);
    }
}
