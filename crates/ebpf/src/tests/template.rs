//! Functions made one by their constants do on each row what each of them did.

use super::interpret;
use crate::{Cond, Function, FunctionBuilder, Module, Size, template};

/// Where in the context the row is.
const ROW: i32 = 64;

/// Constants as operands of arithmetic, comparisons, stores and returns, and as values.
fn function(bound: i32, add: i32, big: i64, returned: i32) -> Function {
    let mut b = FunctionBuilder::new("f", 1);
    let context = b.param(0);
    let x = b.load(Size::U32, context, 0);
    let (low, high) = (b.create_block(), b.create_block());
    b.brif(Cond::Slt, x, bound, low, high);
    b.switch_to(low);
    let slot = b.slot(8, 8);
    b.slot_store(Size::U64, slot, 0, add);
    let stored = b.slot_load(Size::U64, slot, 0);
    let y = b.add(x, add);
    let y = b.mul(y, 3);
    let y = b.add(y, stored);
    let big = b.iconst(big);
    let y = b.xor(y, big);
    b.ret(y);
    b.switch_to(high);
    b.ret(returned);
    b.finish().unwrap()
}

fn module(functions: Vec<Function>, row: bool) -> Module {
    let mut module = Module::new("m");
    let main = module.declare("main", 1);
    let callee = module.declare("f", if row { 2 } else { 1 });
    let mut b = FunctionBuilder::new("main", 1);
    let context = b.param(0);
    let result = if row {
        let row = b.add(context, ROW);
        b.call_func(callee, &[context, row])
    } else {
        b.call_func(callee, &[context])
    };
    b.ret(result);
    module.define(main, b.finish().unwrap());
    functions.into_iter().for_each(|function| module.define(callee, function));
    module
}

#[test]
fn a_template_does_on_each_row_what_each_function_did() {
    let functions = [
        function(10, 7, 1 << 40, -3),
        function(-4, 7, -1, 0),
        function(10, -9, 77, i32::MAX),
        function(i32::MAX, i32::MIN, i64::MIN, 3),
    ];
    let all: Vec<&Function> = functions.iter().collect();
    let made = template(&all).unwrap();
    // Bound, sum (twice), big constant, result; the factor is the same in all.
    assert!(made.rows.iter().all(|row| row.len() == 4 * 8));
    for (one, row) in functions.iter().zip(&made.rows) {
        for x in [0_i32, 9, 10, 11, -5, -4, i32::MIN, i32::MAX] {
            let mut context = vec![0; ROW as usize];
            context[..4].copy_from_slice(&x.to_le_bytes());
            context.extend(row);
            let wanted = interpret::run(&module(vec![one.clone()], false), &context);
            let together = module(vec![made.function.clone()], true);
            assert_eq!(interpret::run(&together, &context), wanted, "{x}\n{together}");
            together.compile(&crate::Options::default()).unwrap();
        }
    }
}

#[test]
fn what_differs_in_more_than_constants_is_not_made_one() {
    let one = function(1, 2, 3, 4);
    let mut b = FunctionBuilder::new("f", 1);
    b.ret(0);
    let other = b.finish().unwrap();
    assert!(template(&[&one, &other]).is_none());
    assert_ne!(one.shape(), other.shape());
    assert_eq!(one.shape(), function(9, 9, 9, 9).shape());
    // A size that a call takes is no constant of a row.
    let call = |size| {
        let mut b = FunctionBuilder::new("f", 1);
        let slot = b.slot(16, 8);
        let to = b.slot_addr(slot, 0);
        let size = b.iconst(size);
        let from = b.param(0);
        b.call(113, &[to, size, from]);
        b.ret(0);
        b.finish().unwrap()
    };
    assert!(template(&[&call(8), &call(16)]).is_none());
}

/// What breaks a function after it was built is found before a pass can hide it.
#[test]
fn a_broken_function_is_not_compiled() {
    use crate::ir::Block;
    use crate::ir::function::{Op, Operand, Terminator};
    use crate::{AluOp, Error, Problem};

    let made = || {
        let one = [function(1, 2, 3, 4), function(5, 6, 7, 8)];
        template(&[&one[0], &one[1]]).unwrap().function
    };
    let problem = |broken: Function| {
        let Err(error) = module(vec![broken], true).compile(&crate::Options::default()) else {
            panic!("compiled");
        };
        let Error::Ir { function, problem, .. } = error else { panic!("{error}") };
        assert_eq!(function, "f");
        problem
    };
    // A load from the row in two places.
    let mut twice = made();
    let low = Block::new(1);
    let first = twice.block(low).insts[0];
    twice.block_mut(low).insts.push(first);
    assert_eq!(problem(twice), Problem::Repeated);
    // A constant that the arithmetic on constants would take away.
    let mut divided = made();
    for inst in &mut divided.insts {
        if let Op::Alu { op: op @ AluOp::Mul, b, .. } = &mut inst.op {
            (*op, *b) = (AluOp::Div, Operand::Imm(0));
        }
    }
    assert_eq!(problem(divided), Problem::DivisionByZero);
    // A value that is used before it is loaded.
    let mut late = made();
    let moved = late.block_mut(low).insts.remove(0);
    late.block_mut(low).insts.push(moved);
    assert!(matches!(problem(late), Problem::NotDominating(_)));
    let mut open = made();
    open.block_mut(low).end = None::<Terminator>;
    assert_eq!(problem(open), Problem::BlockOpen);
}
