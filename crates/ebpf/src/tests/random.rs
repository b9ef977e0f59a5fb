//! Random programs: interpreted as IR, compiled and run as instructions, and run by rbpf, they give the
//! same result. Every register assignment is proved by the allocator's checker.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::generate::{CONTEXT, Features, INPUT, WORDS, module};
use super::{interpret, machine};
use crate::insn::{Source, Width};
use crate::{AluOp, Error, Insn, Module, Options, Program};

const ALL: Features = Features { atomics: true, negative_compare: true };
const RBPF: Features = Features { atomics: false, negative_compare: false };

fn context(input: &[u32]) -> Vec<u8> {
    let mut context = vec![0; CONTEXT];
    for (word, value) in input.iter().enumerate() {
        let at = INPUT as usize + 4 * word;
        context[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    context
}

fn options(modern: bool) -> Options {
    Options { long_jumps: modern, sign_extension: modern, check_registers: true }
}

/// Compiles; `None` when the program needs more stack than there is, which is no fault.
fn compile(module: &Module, modern: bool) -> Option<Program> {
    match module.compile(&options(modern)) {
        Ok(program) => Some(program),
        Err(Error::Frame { .. } | Error::Stack { .. }) => None,
        Err(error) => panic!("{error}\n{module}"),
    }
}

/// Where rbpf 0.4 departs from the instruction set: 64-bit comparisons extend their immediate with
/// zeros, the 32-bit remainder of a division by zero keeps the high half.
fn differs_in_rbpf(insn: &Insn) -> bool {
    match *insn {
        Insn::Branch { width: Width::W64, src: Source::Imm(imm), .. } => imm < 0,
        Insn::Alu { width: Width::W32, op: AluOp::Mod, src: Source::Reg(_), .. } => true,
        _ => false,
    }
}

fn rbpf(program: &Program, context: &mut [u8]) -> u64 {
    fn usage(_: &[u8], pc: usize, data: &mut dyn std::any::Any) -> u16 {
        // What rbpf hands over is the box around the data.
        let data = data.downcast_ref::<Box<dyn std::any::Any>>().expect("a box");
        let stacks = data.downcast_ref::<Vec<(usize, u32)>>().expect("the stacks");
        let stack = stacks.iter().find(|(slot, _)| *slot == pc).map_or(0, |(_, stack)| *stack);
        (stack.max(1).next_multiple_of(16)) as u16
    }
    let stacks: Vec<(usize, u32)> = program.functions.iter().map(|f| (f.slot, f.stack)).collect();
    let bytes = program.bytes();
    let mut vm = rbpf::EbpfVmRaw::new(None).expect("a machine");
    vm.set_stack_usage_calculator(usage, Box::new(stacks)).expect("a calculator");
    vm.set_program(&bytes).expect("a valid program");
    vm.execute_program(context).expect("a run without faults")
}

fn input() -> impl Strategy<Value = Vec<u32>> {
    let word = prop_oneof![any::<u32>(), 0..4u32, Just(u32::MAX), Just(1 << 31)];
    prop::collection::vec(word, WORDS as usize)
}

/// Runs `property` on random strings; every run of the tests sees the same ones.
fn check(cases: u32, length: usize, property: impl Fn(Vec<u8>, Vec<u32>) -> bool) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let strategy = (prop::collection::vec(any::<u8>(), 0..length), input());
    let ran = std::cell::Cell::new(0);
    let result = runner.run(&strategy, |(bytes, input)| {
        ran.set(ran.get() + u32::from(property(bytes, input)));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(ran.get() > cases / 2, "only {} of {cases} programs fit into the stack", ran.get());
}

#[test]
fn compiled_programs_do_what_their_ir_says() {
    check(150, 1200, |bytes, input| {
        let module = module(&bytes, ALL);
        let context = context(&input);
        let expected = interpret::run(&module, &context);
        let mut ran = false;
        for modern in [false, true] {
            if let Some(program) = compile(&module, modern) {
                let got = machine::run(&program, &context);
                assert_eq!(got, expected, "{module}\n{}", program.disassemble());
                ran = true;
            }
        }
        ran
    });
}

#[test]
fn rbpf_agrees() {
    check(150, 800, |bytes, input| {
        let module = module(&bytes, RBPF);
        let mut context = context(&input);
        let expected = interpret::run(&module, &context);
        let Some(program) = compile(&module, false) else { return false };
        if program.insns.iter().any(differs_in_rbpf) {
            return false;
        }
        let got = rbpf(&program, &mut context);
        assert_eq!(got, expected, "{module}\n{}", program.disassemble());
        true
    });
}

#[test]
fn passes_keep_the_meaning_of_ir() {
    check(150, 1500, |bytes, input| {
        let module = module(&bytes, ALL);
        let context = context(&input);
        let expected = interpret::run(&module, &context);
        for modern in [false, true] {
            let mut optimized = module.clone();
            optimized.optimize(&options(modern)).expect("valid IR");
            let got = interpret::run(&optimized, &context);
            assert_eq!(got, expected, "{module}\n{optimized}");
        }
        true
    });
}
