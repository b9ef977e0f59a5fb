//! What programs are refused for, and in which words.

#![allow(clippy::unwrap_used)] // helpers of tests, outside test functions

use ebpf::{
    AtomicOp, Cond, Error, Function, FunctionBuilder, Module, Options, Place, Problem, Size,
};

/// Builds a function with one parameter that `body` makes wrong.
fn problem(body: impl FnOnce(&mut FunctionBuilder)) -> Problem {
    let mut b = FunctionBuilder::new("wrong", 1);
    body(&mut b);
    match b.finish() {
        Err(Error::Ir { function, problem, .. }) => {
            assert_eq!(function, "wrong");
            problem
        }
        other => panic!("{other:?}"),
    }
}

fn simple(name: &str, params: usize, body: impl FnOnce(&mut FunctionBuilder)) -> Function {
    let mut b = FunctionBuilder::new(name, params);
    body(&mut b);
    b.finish().unwrap()
}

#[test]
fn the_ir_verifier_finds_broken_rules() {
    assert_eq!(problem(|_| {}), Problem::BlockOpen);
    let entry_again = problem(|b| {
        let entry = b.current();
        b.jump(entry, &[]);
    });
    assert_eq!(entry_again, Problem::EntryTarget);
    let ended = problem(|b| {
        b.ret(0);
        b.ret(1);
    });
    assert_eq!(ended, Problem::BlockEnded);
    let shift = problem(|b| {
        let v = b.param(0);
        let v = b.alu32(ebpf::AluOp::Shl, v, 32);
        b.ret(v);
    });
    assert_eq!(shift, Problem::Shift(32, 32));
    let division = problem(|b| {
        let v = b.param(0);
        let v = b.div(v, 0);
        b.ret(v);
    });
    assert_eq!(division, Problem::DivisionByZero);
    let atomic = problem(|b| {
        let v = b.param(0);
        b.atomic(AtomicOp::Add, Size::U16, v, 0, 1);
        b.ret(0);
    });
    assert_eq!(atomic, Problem::Size { what: "atomic", bits: 16 });
    let arguments = problem(|b| {
        let (v, next) = (b.param(0), b.create_block());
        b.jump(next, &[v]);
        b.switch_to(next);
        b.ret(0);
    });
    assert!(matches!(arguments, Problem::Arguments { takes: 0, gets: 1, .. }), "{arguments:?}");
    let too_many = problem(|b| {
        let v = b.param(0);
        b.call(1, &[v; 6]);
        b.ret(0);
    });
    assert_eq!(too_many, Problem::TooManyArguments(6));
    let no_param = problem(|b| {
        let v = b.param(1);
        b.ret(v);
    });
    assert_eq!(no_param, Problem::NoParam { index: 1, params: 1 });
}

#[test]
fn values_and_variables_must_be_set_on_every_path() {
    let value = problem(|b| {
        let (param, then, join) = (b.param(0), b.create_block(), b.create_block());
        b.brif(Cond::Eq, param, 0, then, join);
        b.switch_to(then);
        let v = b.add(param, 1);
        b.jump(join, &[]);
        b.switch_to(join);
        b.ret(v);
    });
    assert!(matches!(value, Problem::NotDominating(_)), "{value:?}");
    let variable = problem(|b| {
        let (param, then, join) = (b.param(0), b.create_block(), b.create_block());
        let var = b.var();
        b.brif(Cond::Eq, param, 0, then, join);
        b.switch_to(then);
        b.def(var, param);
        b.jump(join, &[]);
        b.switch_to(join);
        let v = b.get(var);
        b.ret(v);
    });
    assert!(matches!(variable, Problem::UnsetVariable(..)), "{variable:?}");
}

#[test]
fn slots_are_accessed_inside_and_aligned() {
    let access = |size, off| {
        problem(move |b| {
            let slot = b.slot(8, 4);
            b.slot_store(size, slot, off, 0);
            b.ret(0);
        })
    };
    for (size, off) in [(Size::U32, 8), (Size::U32, -4), (Size::U32, 2), (Size::U64, 0)] {
        assert!(matches!(access(size, off), Problem::SlotAccess { .. }), "{size:?} {off}");
    }
    let shape = problem(|b| {
        b.slot(513, 8);
        b.ret(0);
    });
    assert!(matches!(shape, Problem::SlotShape { size: 513, align: 8, .. }), "{shape:?}");
}

#[test]
fn code_that_cannot_be_reached_does_not_count() {
    let function = simple("fine", 1, |b| {
        let nowhere = b.create_block();
        b.ret(0);
        b.switch_to(nowhere);
        let var = b.var();
        let v = b.get(var);
        b.ret(v);
    });
    assert_eq!(function.to_string(), "func fine(v0) {\nblock0:\n  ret 0\n}\n");
}

#[test]
fn frames_and_chains_of_calls_are_limited() {
    let with_slot = |name: &str, size, callee: Option<ebpf::FuncId>| {
        simple(name, 1, |b| {
            let slot = b.slot(size, 8);
            let address = b.slot_addr(slot, 0);
            b.call(14, &[address]);
            if let Some(callee) = callee {
                let v = b.iconst(0);
                b.call_func(callee, &[v]);
            }
            b.ret(0);
        })
    };
    let mut module = Module::new("deep");
    let (main, sub) = (module.declare("main", 1), module.declare("sub", 1));
    module.define(main, with_slot("main", 300, Some(sub)));
    module.define(sub, with_slot("sub", 200, None));
    let error = module.compile(&Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the calls main (320) → sub (224) need 544 bytes of stack together; the kernel grants 512"
    );

    let mut module = Module::new("wide");
    let main = module.declare("main", 1);
    module.define(
        main,
        simple("main", 1, |b| {
            for size in [400, 120] {
                let slot = b.slot(size, 8);
                let address = b.slot_addr(slot, 0);
                b.call(14, &[address]);
            }
            b.ret(0);
        }),
    );
    let error = module.compile(&Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "function main needs 520 bytes of stack, 520 for slots (s0 has 400, s1 has 120) and 0 for values \
         that do not fit into registers; a frame has 512"
    );
}

#[test]
fn modules_are_checked_as_a_whole() {
    let compile = |module: &Module| module.compile(&Options::default()).unwrap_err();
    assert_eq!(compile(&Module::new("none")), Error::Empty(String::from("none")));

    let mut module = Module::new("open");
    module.declare("main", 1);
    assert_eq!(compile(&module), Error::NotDefined(String::from("main")));

    let mut module = Module::new("wrong");
    let main = module.declare("main", 2);
    module.define(main, simple("main", 1, |b| b.ret(0)));
    assert!(matches!(compile(&module), Error::Parameters { declared: 2, defined: 1, .. }));

    let mut module = Module::new("recursive");
    let (main, sub) = (module.declare("main", 1), module.declare("sub", 1));
    let calls = |name: &str, callee| {
        simple(name, 1, |b| {
            let v = b.param(0);
            let v = b.call_func(callee, &[v]);
            b.ret(v);
        })
    };
    module.define(main, calls("main", sub));
    module.define(sub, calls("sub", sub));
    assert_eq!(compile(&module).to_string(), "recursion: sub calls sub");

    let mut module = Module::new("arguments");
    let (main, sub) = (module.declare("main", 1), module.declare("sub", 2));
    module.define(main, calls("main", sub));
    module.define(sub, simple("sub", 2, |b| b.ret(0)));
    let error = compile(&module);
    assert!(
        matches!(
            &error,
            Error::Ir {
                place: Place::Inst(..),
                problem: Problem::CallArguments { takes: 2, gets: 1, .. },
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "function main, block0, \"call func1(v0)\": function sub takes 2 arguments and gets 1"
    );
}

#[test]
fn calls_are_at_most_eight_deep() {
    let mut module = Module::new("deep");
    let ids: Vec<_> = (0..9).map(|level| module.declare(format!("f{level}"), 0)).collect();
    for (level, &id) in ids.iter().enumerate() {
        let next = ids.get(level + 1).copied();
        let function = simple(&format!("f{level}"), 0, |b| {
            if let Some(next) = next {
                b.call_func(next, &[]);
            }
            b.ret(0);
        });
        module.define(id, function);
    }
    let error = module.compile(&Options::default()).unwrap_err();
    assert!(matches!(&error, Error::CallDepth(chain) if chain.len() == 9), "{error}");
}

#[test]
fn maps_without_descriptors_are_named() {
    let mut module = Module::new("maps");
    let main = module.declare("main", 1);
    let (used, unused) = (module.map("used"), module.map("unused"));
    assert_ne!(used, unused);
    module.define(
        main,
        simple("main", 1, |b| {
            let (map, value) = (b.map(used), b.map_value(used, 24));
            b.call(1, &[map, value]);
            b.ret(0);
        }),
    );
    let mut program = module.compile(&Options::default()).unwrap();
    assert_eq!(program.used_maps().collect::<Vec<_>>(), ["used"]);
    let before = program.clone();
    assert_eq!(program.relocate(|_| None), Err(Error::UnresolvedMap(String::from("used"))));
    assert_eq!(program, before);
    program.relocate(|name| (name == "used").then_some(7)).unwrap();
    let text: Vec<String> = program.insns.iter().take(2).map(ToString::to_string).collect();
    assert_eq!(text, ["r1 = map[fd:7]", "r2 = map[fd:7][0]+24"]);
}

#[test]
fn text_that_does_not_parse_is_placed() {
    let parse = |text: &str| text.parse::<Module>().unwrap_err().to_string();
    assert_eq!(
        parse("func main(v0) {\nblock0:\n  v1 = frob v0, 1\n  ret v1\n}\n"),
        "line 3: \"frob\" is no instruction"
    );
    assert_eq!(parse("func main(v0) {\nblock0:\n  ret v7\n}\n"), "line 3: v7 is not defined");
    assert_eq!(
        parse("func main(v0) {\nblock0:\n  v1 = store.u32 v0+0, 1\n  ret 0\n}\n"),
        "line 3: store.u32 v0+0, 1 has no result"
    );
}
