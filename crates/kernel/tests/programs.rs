//! Programs on the running kernel: loading, rejection, running, counting, iterating.

#![allow(clippy::unwrap_used)] // also in functions that tests share

mod support;

use std::io::Read;
use std::os::fd::AsFd;

use kernel::link::{Link, LinkType, Over, link_ids};
use kernel::map::{Map, MapType};
use kernel::program::{
    AttachType, LogLevel, Program, ProgramFlags, ProgramSpec, ProgramType, Target, TestRun,
    enable_statistics, program_ids,
};
use kernel::{Errno, Error};
use support::{
    add, call, copy, exit, insn, load, map_spec, mov, nothing, raw_tracepoint, store, target,
    tracing, vmlinux,
};

#[test]
fn the_verifier_says_why() {
    need_bpf!();
    // A load from an address that is no pointer.
    let code = [mov(6, 5), load(0, 6, 0), exit()].concat();
    let error = Program::load(&raw_tracepoint("bad", &code)).unwrap_err();
    let Error::Rejected(rejected) = &error else { panic!("{error}") };
    assert_eq!(rejected.cause(), "R6 invalid mem access 'scalar'");
    assert_eq!((rejected.instruction(), rejected.errno()), (Some(1), Errno::EACCES));
    assert!(rejected.log().contains("processed 2 insns") && !rejected.is_truncated());
    assert_eq!(
        error.to_string(),
        "the verifier rejected program `bad`: R6 invalid mem access 'scalar', at instruction 1: \
         Permission denied (EACCES)"
    );
}

#[test]
fn a_long_log_is_whole() {
    need_bpf!();
    let mut code = Vec::new();
    for _ in 0..4000 {
        code.extend([mov(1, 1), add(1, 2)].concat());
    }
    code.extend([copy(0, 7), exit()].concat());
    let error = Program::load(&raw_tracepoint("long", &code)).unwrap_err();
    let Error::Rejected(rejected) = &error else { panic!("{error}") };
    assert_eq!((rejected.cause(), rejected.instruction()), ("R7 !read_ok", Some(8000)));
    assert!(rejected.log().len() > 1 << 18, "{}", rejected.log().len());
    assert!(rejected.log().contains("\n0: (b7) r1 = 1"));
}

#[test]
fn statistics_of_verification_can_be_kept() {
    need_bpf!();
    let code = nothing();
    let log_level = LogLevel::STATISTICS;
    let spec = ProgramSpec { log_level, ..raw_tracepoint("good", &code) };
    let program = Program::load(&spec).unwrap();
    assert!(program.log().contains("processed 2 insns"), "{}", program.log());
}

#[test]
fn unknown_types_are_refused_with_a_hint() {
    need_bpf!();
    let program_type = ProgramType(9999);
    let code = nothing();
    let spec = ProgramSpec { program_type, ..raw_tracepoint("odd", &code) };
    let error = Program::load(&spec).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot load program `odd` (type 9999): Invalid argument"),
        "{error}"
    );
    assert!(error.contains("does not know the program type"), "{error}");
}

#[test]
fn raw_tracepoints_run_with_made_up_arguments() {
    need_bpf!();
    let code = [load(0, 1, 8), exit()].concat();
    let program = Program::load(&raw_tracepoint("second", &code)).unwrap();
    let context = [1_u64, 42].map(u64::to_ne_bytes).concat();
    let run = TestRun { context: &context, ..TestRun::default() };
    assert_eq!(program.test_run(&run).unwrap().returned, 42);
    let short = TestRun { context: &context[..8], ..TestRun::default() };
    let error = program.test_run(&short).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    assert!(error.to_string().starts_with("cannot run program `second`: "));
}

#[test]
fn syscall_programs_change_their_context() {
    need_bpf!();
    let code = [load(2, 1, 0), add(2, 1), store(1, 8, 2), mov(0, 3), exit()].concat();
    let program = Program::load(&ProgramSpec {
        program_type: ProgramType::SYSCALL,
        flags: ProgramFlags::SLEEPABLE,
        ..raw_tracepoint("inc", &code)
    })
    .unwrap();
    let context = [9_u64, 0].map(u64::to_ne_bytes).concat();
    let result = program.test_run(&TestRun { context: &context, ..TestRun::default() }).unwrap();
    assert_eq!(result.returned, 3);
    assert_eq!(result.context, [9_u64, 10].map(u64::to_ne_bytes).concat());
}

#[test]
fn maps_are_found_by_index_in_the_descriptors() {
    need_bpf!();
    let map = Map::create(&map_spec(MapType::ARRAY, 4, 8, 1)).unwrap();
    map.update(&[0; 4], &8_u64.to_ne_bytes(), kernel::map::Update::Any).unwrap();
    // BPF_PSEUDO_MAP_IDX_VALUE: the value of the array that has index 1.
    let code = [insn(0x18, 1, 6, 0, 1), insn(0, 0, 0, 0, 0), load(0, 1, 0), exit()].concat();
    let fd_array = [None, Some(map.as_fd())];
    let spec = ProgramSpec { fd_array: &fd_array, ..raw_tracepoint("index", &code) };
    let program = Program::load(&spec).unwrap();
    assert_eq!(program.test_run(&TestRun::default()).unwrap().returned, 8);
    assert_eq!(program.info().unwrap().map_ids, [map.info().unwrap().id]);
}

#[test]
fn runs_are_counted_while_asked_for() {
    need_bpf!();
    let code = nothing();
    let program = Program::load(&raw_tracepoint("counted", &code)).unwrap();
    let counting = enable_statistics().unwrap();
    for _ in 0..10 {
        program.test_run(&TestRun::default()).unwrap();
    }
    let statistics = program.statistics().unwrap();
    assert_eq!((statistics.runs, statistics.recursion_misses), (10, 0));
    assert!(!statistics.run_time.is_zero());
    drop(counting);
}

#[test]
fn programs_are_listed_opened_and_described() {
    need_bpf!();
    let code = nothing();
    let program = Program::load(&raw_tracepoint("described", &code)).unwrap();
    let info = program.info().unwrap();
    assert_eq!((info.name.as_str(), info.verified_instructions), ("described", 2));
    assert_eq!(info.program_type, ProgramType::RAW_TRACEPOINT);
    assert!(info.translated_bytes >= 16 && info.tag != [0; 8]);
    assert!(info.loaded <= kernel::clock::since_boot() && !info.loaded.is_zero());
    assert!(program.memory_bytes().unwrap() > 0);
    assert!(program_ids().unwrap().contains(&info.id));
    let opened = Program::from_id(info.id, AttachType::default()).unwrap();
    assert_eq!(opened.info().unwrap(), info);
    assert_eq!(opened.name(), "described");
    let not_a_map = opened.as_fd().try_clone_to_owned().unwrap();
    let error = Map::from_fd(not_a_map).unwrap_err();
    assert_eq!(error.to_string(), "what was opened is not a map");
}

/// A program that writes the pid of each task it is shown.
fn list_tasks() -> Program {
    let btf = vmlinux();
    let task = btf.find_struct("task_struct").unwrap();
    let pid = btf.field(task, "pid").unwrap().offset;
    let code = [
        load(6, 1, 0),                                    // meta
        load(7, 1, 8),                                    // task, null at the end
        insn(0x15, 7, 0, 7, 0),                           // if r7 == 0 goto exit
        insn(0x61, 2, 7, i16::try_from(pid).unwrap(), 0), // task->pid
        insn(0x63, 10, 2, -4, 0),
        load(1, 6, 0), // meta->seq
        copy(2, 10),
        add(2, -4),
        mov(3, 4),
        call(127), // bpf_seq_write
        mov(0, 0),
        exit(),
    ]
    .concat();
    let id = target("bpf_iter_task").unwrap();
    Program::load(&tracing("tasks", AttachType::TRACE_ITER, id, &code)).unwrap()
}

fn pids(link: &Link) -> Vec<u32> {
    let mut bytes = Vec::new();
    link.iterate().unwrap().read_to_end(&mut bytes).unwrap();
    bytes.chunks_exact(4).map(|pid| u32::from_ne_bytes(pid.try_into().unwrap())).collect()
}

#[test]
fn iterators_list_tasks() {
    need_bpf!();
    let program = list_tasks();
    let link = Link::iterator(&program, "task", Over::All).unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    for _ in 0..2 {
        let found = pids(&link);
        assert!([child.id(), std::process::id()].iter().all(|id| found.contains(id)), "{found:?}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!pids(&link).contains(&child.id()));
    let info = link.info().unwrap();
    assert_eq!(info.link_type, LinkType::ITER);
    assert!(link_ids().unwrap().contains(&info.id));
    link.update(&list_tasks()).unwrap();
    assert_ne!(link.info().unwrap().program_id, info.program_id);
    assert_eq!(Link::from_id(info.id).unwrap().info().unwrap().id, info.id);
}

#[test]
fn iterators_list_the_threads_of_one_process() {
    need_bpf!();
    let program = list_tasks();
    let own = std::process::id();
    let one = match Link::iterator(&program, "task", Over::Thread(own)) {
        Err(error) if error.errno() == Some(Errno::EINVAL) => skip!("needs Linux 6.1: {error}"),
        link => link.unwrap(),
    };
    assert_eq!(pids(&one), [own]);
    let all = pids(&Link::iterator(&program, "task", Over::Process(own)).unwrap());
    assert!(all.contains(&own) && all.len() > 1, "the test's thread is missing: {all:?}");
}

#[test]
fn iterators_go_over_maps() {
    need_bpf!();
    let map = Map::create(&map_spec(MapType::ARRAY, 4, 4, 3)).unwrap();
    for index in 0..3_u32 {
        let value = (index + 10).to_ne_bytes();
        map.update(&index.to_ne_bytes(), &value, kernel::map::Update::Any).unwrap();
    }
    // struct bpf_iter__bpf_map_elem: meta, map, key, value.
    let code = [
        load(6, 1, 0),
        load(2, 1, 24),
        insn(0x15, 2, 0, 3, 0),
        load(1, 6, 0),
        mov(3, 4),
        call(127),
        mov(0, 0),
        exit(),
    ]
    .concat();
    let id = target("bpf_iter_bpf_map_elem").unwrap();
    let program = Program::load(&tracing("elements", AttachType::TRACE_ITER, id, &code)).unwrap();
    let link = Link::iterator(&program, "bpf_map_elem", Over::Map(&map)).unwrap();
    assert_eq!(pids(&link), [10, 11, 12]);
}

/// bpf_trace_printk() in a program on the tracepoint that it fires.
#[test]
fn recursion_is_counted() {
    need_bpf!();
    let Some(id) = target("btf_trace_bpf_trace_printk") else {
        skip!("this kernel has no tracepoint bpf_trace_printk");
    };
    let code = [
        mov(1, i32::from_ne_bytes(*b"hi!\0")),
        store(10, -8, 1),
        copy(1, 10),
        add(1, -8),
        mov(2, 4),
        call(6), // bpf_trace_printk
        mov(0, 0),
        exit(),
    ]
    .concat();
    let inner = Program::load(&tracing("inner", AttachType::TRACE_RAW_TP, id, &code)).unwrap();
    let link = Link::tracing(&inner, "bpf_trace_printk", 0).unwrap();
    let outer = Program::load(&raw_tracepoint("outer", &code)).unwrap();
    outer.test_run(&TestRun::default()).unwrap();
    drop(link);
    assert_eq!(inner.statistics().unwrap().recursion_misses, 1);
}

#[test]
fn trampolines_work_or_say_why_not() {
    need_bpf!();
    let code = nothing();
    let id = target("bpf_fentry_test1").or_else(|| target("vfs_getattr")).unwrap();
    for attach_type in [AttachType::TRACE_FENTRY, AttachType::TRACE_FEXIT] {
        let link = Program::load(&tracing("p", attach_type, id, &code))
            .and_then(|program| Link::tracing(&program, "bpf_fentry_test1", 0));
        match link {
            Ok(link) => assert_eq!(link.info().unwrap().link_type, LinkType::TRACING),
            Err(error) => {
                let text = error.to_string();
                let what = "this kernel does not let trampolines change its functions";
                assert!(error.errno() == Some(Errno::EPERM) && text.contains(what), "{text}");
                skip!("{text}");
            }
        }
    }
}

#[test]
fn lsm_programs_attach_or_say_why_not() {
    need_bpf!();
    let code = nothing();
    let id = target("bpf_lsm_file_mprotect").unwrap();
    let program = Program::load(&ProgramSpec {
        program_type: ProgramType::LSM,
        attach_type: AttachType::LSM_MAC,
        target: Target::Kernel(id),
        ..raw_tracepoint("lsm", &code)
    });
    let program = match program {
        Err(error) => skip!("{error}"),
        Ok(program) => program,
    };
    match Link::tracing(&program, "file_mprotect", 0) {
        Ok(link) => assert_eq!(link.target(), "lsm file_mprotect"),
        Err(error) => {
            assert!(error.to_string().contains("to lsm file_mprotect: "), "{error}");
            skip!("{error}");
        }
    }
}
