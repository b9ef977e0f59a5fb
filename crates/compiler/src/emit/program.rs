//! A program from its sections: which system call it is about, then one section after the other.

use super::context::register;
use super::fold::{self, Called};
use super::lines::Lines;
use super::map::{self, Maps, control};
use super::scratch::{self, Functions};
use super::section::{Role, Section, climbing};
use super::table::{Table, Tables};
use super::{Context, Emitter, Paths};
use crate::act::{self, ima, rate_limit};
use crate::flow::choose;
use crate::follow::Needs;
use crate::follow::scopes::{Restriction, Scopes};
use crate::plan::{Attachment, Input};
use crate::read::{Base, Reader};
use crate::test::nothing_climbed;
use crate::{Error, Machine, climb, helper, walk};
use ebpf::{Cond, FunctionBuilder, MapRef, Module, Size, Slot};
use policy::evaluate::Workload;
use std::collections::{BTreeMap, HashMap};

/// What a program hangs on, as its code sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shape {
    /// Arguments in order.
    Words {
        /// Which word is the result.
        returned: Option<u32>,
    },
    /// Registers of a function.
    Function,
    /// The same of one of many functions; the cookie tells which.
    Functions,
    /// Registers of a program in user space.
    Program,
    /// A function whose first argument points to the registers of a system call's caller; by
    /// trampoline.
    SyscallWords {
        /// Which word is the result.
        returned: Option<u32>,
    },
    /// The same by kprobe.
    SyscallFunction,
    /// The tracepoint `sys_enter`, for all system calls.
    SyscallEnter,
    /// The tracepoint `sys_exit`.
    SyscallExit,
    /// Perf's record of a tracepoint.
    Record,
}

/// A program, and the tables that have to be there before it is loaded.
pub(crate) struct Code {
    /// The program.
    pub(crate) module: Module,
    /// Its tables, whose names it refers to.
    pub(crate) tables: Vec<Table>,
}

/// Where a program stands among those of its place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// It is the one that hangs there: it begins with the switch ([`Doors::enter`]).
    pub(crate) first: bool,
    /// It goes on to another ([`map::NEXT`]).
    pub(crate) goes_on: bool,
}

/// What the names of sections' functions start with, before their index.
const SECTION: &str = "section_";

/// Index of the section that a function of a program belongs to.
pub(crate) fn section_of(function: &str) -> Option<usize> {
    let index = function.strip_prefix(SECTION)?;
    index.split_once('_').map_or(index, |(index, _)| index).parse().ok()
}

/// Makes the program of these sections, which all hang on the same place.
pub(crate) fn program(
    name: &str,
    machine: &Machine,
    shape: Shape,
    position: Position,
    sections: &[Section],
    scopes: &Scopes,
) -> Result<Code, Error> {
    let mut module = Module::new(name);
    let mut tables = Vec::new();
    let maps = Maps::declare(&mut module);
    let doors = Doors {
        switch: position.first.then(|| (maps.control, module.map(map::TARGETS))),
        next: position.goes_on.then(|| module.map(map::NEXT)),
        measures: is_measured(sections).then_some(maps.measures),
    };
    let main = module.declare(name, 1);
    let functions = Functions::declare(&mut module);
    let paths = &Paths::of(sections);
    let shared = Shared { machine, scopes, maps, functions, shape, paths };
    if let ([section], None, None) = (sections, key_of(sections), doors.next) {
        // A section that is alone is the program: no call, no frame of its own.
        let mut body = FunctionBuilder::new(name, 1);
        doors.enter(&mut body);
        let lines = Lines::declare(&mut module, section);
        let lent = Tables { module: &mut module, list: &mut tables };
        let function = section_function(body, shared, lines, lent, (0, Some(doors)), section)?;
        module.define(main, function);
        define_functions(&mut module, &functions, machine, &maps)?;
        return Ok(Code { module, tables });
    }
    let mut bodies = Vec::new();
    let mut counters = 0;
    for (index, section) in sections.iter().enumerate() {
        let lent = paths.kept && climbing(section).next().is_some();
        let body = FunctionBuilder::new(format!("{SECTION}{index}"), 1 + usize::from(lent));
        let lines = Lines::declare(&mut module, section);
        let tables = Tables { module: &mut module, list: &mut tables };
        let function = section_function(body, shared, lines, tables, (counters, None), section)?;
        counters += section.counters();
        let restriction = Restriction::of_policy(&section.policy);
        let restriction = restriction.filter(|restriction| !restriction.includes(&Workload::Host));
        let restriction = restriction.and_then(|restriction| scopes.number(&restriction));
        let decides = act::decides(section);
        let last = section.role == Role::Enforce;
        bodies.push(fold::Body { key: key(section), restriction, decides, last, lent, function });
    }
    let called = fold::define(&mut module, &mut tables, machine, scopes, bodies)?;
    module.define(main, main_function(name, machine, shape, doors, &called)?);
    define_functions(&mut module, &functions, machine, &maps)?;
    Ok(Code { module, tables })
}

/// Defines what sections can call, as far as it is called.
fn define_functions(
    module: &mut Module,
    functions: &Functions,
    machine: &Machine,
    maps: &Maps,
) -> Result<(), Error> {
    module.define(functions.acquire, scratch::acquire(maps)?);
    module.define(functions.path_step, path_step(machine)?);
    climb::define(module, functions, machine)?;
    module.define(functions.digest, rate_limit::digest(functions.digest_step)?);
    module.define(functions.digest_step, rate_limit::digest_step()?);
    module
        .drop_unreached()
        .map_err(|error| Error::Program { program: module.name().to_owned(), error })
}

/// The function of a section, to be compared with others: what it is part of makes no difference.
pub(crate) fn sample(
    machine: &Machine,
    shape: Shape,
    section: &Section,
    scopes: &Scopes,
) -> Result<Sample, Error> {
    let mut module = Module::new("sample");
    let mut list = Vec::new();
    let maps = Maps::declare(&mut module);
    let functions = Functions::declare(&mut module);
    let tables = Tables { module: &mut module, list: &mut list };
    let paths = &Paths::of([section]);
    let shared = Shared { machine, scopes, maps, functions, shape, paths };
    let body = FunctionBuilder::new("section", 1);
    let body = section_function(body, shared, Lines::default(), tables, (0, None), section)?;
    // Tables of several policies are never one, nor is what is kept for one policy.
    let own = !list.is_empty() || Needs::of([section]).is_own() || act::decides(section);
    let shape = (!own).then(|| body.shape());
    Ok((key(section), shape))
}

/// Sections of equal samples can be made one.
pub(crate) type Sample = (Option<u64>, Option<ebpf::Shape>);

/// The same of the first section.
fn key_of(sections: &[Section]) -> Option<u64> {
    sections.first().and_then(key)
}

/// Which system call or function a section is for, among those of one program: the call's number, and bit
/// 31 for 32-bit callers; the function's index.
fn key(section: &Section) -> Option<u64> {
    match &section.hook.attachment {
        Attachment::Syscall { number, compat } => {
            Some(u64::from(*number) | if *compat { 1 << 31 } else { 0 })
        }
        Attachment::KprobeMulti { function, among } => {
            among.index(function).map(|index| index as u64)
        }
        _ => None,
    }
}

/// The step of walks in the scratch areas.
fn path_step(machine: &Machine) -> Result<ebpf::Function, Error> {
    let mut b = FunctionBuilder::new("tg_path_step", 2);
    let read = Reader::new(&mut b, &machine.btf);
    walk::step(b, &read, scratch::PATHS)
}

/// What all functions of a program share.
#[derive(Clone, Copy)]
struct Shared<'k> {
    machine: &'k Machine,
    scopes: &'k Scopes,
    maps: Maps,
    functions: Functions,
    shape: Shape,
    paths: &'k Paths,
}

/// Makes the program that brings in memory that these values are in ([`super::fault_in`]). `section`: one
/// that reads some of them.
pub(crate) fn fault_in(
    name: &str,
    machine: &Machine,
    shape: Shape,
    section: &Section,
    inputs: &[Input],
    scopes: &Scopes,
) -> Result<Module, Error> {
    let mut module = Module::new(name);
    let mut list = Vec::new();
    let maps = Maps::declare(&mut module);
    let main = module.declare(name, 1);
    let functions = Functions::declare(&mut module);
    let paths = &Paths::of([]);
    let shared = Shared { machine, scopes, maps, functions, shape, paths };
    let body = FunctionBuilder::new(name, 1);
    let tables = Tables { module: &mut module, list: &mut list };
    let mut e = emitter(body, shared, Lines::default(), tables, 0, section)?;
    e.waits = true;
    let slot = e.fault_in_slot();
    for input in inputs {
        e.fault_in(input, slot)?;
    }
    let leave = e.leave;
    e.b.jump(leave, &[]);
    e.b.switch_to(leave);
    e.b.ret(0);
    let function = e.b.finish()?;
    module.define(main, function);
    define_functions(&mut module, &functions, machine, &maps)?;
    Ok(module)
}

/// The function of a section, with its first counters and, where it is a program by itself, how calls go on.
fn section_function(
    b: FunctionBuilder,
    shared: Shared<'_>,
    lines: Lines,
    tables: Tables<'_>,
    (index, doors): (u32, Option<Doors>),
    section: &Section,
) -> Result<ebpf::Function, Error> {
    let mut e = emitter(b, shared, lines, tables, index, section)?;
    e.section(section)
        .map_err(|cause| Error::Hook { place: section.place(), cause: Box::new(cause) })?;
    let leave = e.leave;
    e.b.switch_to(leave);
    e.release();
    match e.verdict.map(|verdict| e.b.get(verdict)) {
        Some(verdict) => match doors {
            Some(doors) => doors.leave(&mut e.b, verdict),
            None => e.b.ret(verdict),
        },
        None => e.b.ret(0),
    }
    Ok(e.b.finish()?)
}

fn emitter<'k>(
    mut b: FunctionBuilder,
    Shared { machine, scopes, maps, functions, shape, paths }: Shared<'k>,
    lines: Lines,
    tables: Tables<'k>,
    index: u32,
    section: &'k Section,
) -> Result<Emitter<'k>, Error> {
    let raw = b.param(0);
    let lent = (b.params() > 1).then(|| b.param(1));
    let read = Reader::new(&mut b, &machine.btf);
    let context = context(&mut b, &read, raw, shape)?;
    let leave = b.create_block();
    let (scratch, scratch_bit, length) = (b.var(), b.var(), b.var());
    let zero = b.iconst(0);
    b.def(scratch, zero);
    b.def(scratch_bit, zero);
    let verdict = act::decides(section).then(|| b.var());
    if let Some(verdict) = verdict {
        b.def(verdict, zero);
    }
    let header = b.iconst(super::record::at::SIZE.into());
    b.def(length, header);
    Ok(Emitter {
        b,
        read,
        machine,
        policy: &section.policy,
        own: &section.own,
        maps,
        functions,
        context,
        compat: section.hook.attachment.is_compat(),
        waits: false,
        raw_context: raw,
        index,
        digests: rate_limit::any(&section.hook.selectors),
        verdict,
        leave,
        scratch,
        scratch_bit,
        held: None,
        length,
        texts: HashMap::new(),
        names: None,
        paths,
        lent,
        climbed: None,
        owner: None,
        returned_buffer: None,
        before_set: Vec::new(),
        measured_in: None,
        lines,
        scopes,
        tables,
    })
}

fn context(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    raw: ebpf::Value,
    shape: Shape,
) -> Result<Context, Error> {
    Ok(match shape {
        Shape::Words { returned } => Context::Words { context: raw, returned },
        Shape::Function | Shape::Functions => Context::Function { context: raw },
        Shape::Program => Context::Program { context: raw },
        Shape::SyscallWords { returned } => {
            let registers = b.load(Size::U64, raw, 0);
            let returned = returned.map(|word| b.load(Size::U64, raw, 8 * word as i16));
            Context::Syscall { registers: Base::Typed(registers), returned }
        }
        Shape::SyscallFunction => {
            let first = register::FUNCTION[0];
            let registers = read.get(b, Base::Typed(raw), "pt_regs", first)?;
            Context::Syscall { registers: Base::Address(registers), returned: None }
        }
        Shape::SyscallEnter => {
            let registers = b.load(Size::U64, raw, 0);
            Context::Syscall { registers: Base::Typed(registers), returned: None }
        }
        Shape::SyscallExit => {
            let registers = b.load(Size::U64, raw, 0);
            let returned = b.load(Size::U64, raw, 8);
            Context::Syscall { registers: Base::Typed(registers), returned: Some(returned) }
        }
        Shape::Record => Context::Record { context: raw },
    })
}

fn main_function(
    name: &str,
    machine: &Machine,
    shape: Shape,
    doors: Doors,
    sections: &[Called],
) -> Result<ebpf::Function, Error> {
    let mut b = FunctionBuilder::new(name, 1);
    doors.enter(&mut b);
    let raw = b.param(0);
    let (verdict, none) = (b.var(), b.iconst(0));
    b.def(verdict, none);
    let climbed = sections.iter().any(|called| called.lent).then(|| nothing_climbed(&mut b));
    if matches!(shape, Shape::Functions | Shape::SyscallEnter | Shape::SyscallExit) {
        dispatch(&mut b, machine, raw, shape, sections, climbed)?;
    } else {
        for called in sections {
            let result = called.call(&mut b, raw, climbed);
            if called.decides {
                // The first one that denies has its say; all see the call.
                let before = b.get(verdict);
                let first = choose(&mut b, Cond::Ne, before, 0, |_| before, |_| result);
                b.def(verdict, first);
            }
        }
    }
    let verdict = b.get(verdict);
    if let Some(next) = doors.next {
        // What follows knows nothing of what was decided here, and its result would take the place of this
        // one's. Those that only watch were here before ([`pack`](crate::link::pack)).
        let (on, over) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, verdict, 0, on, over);
        b.switch_to(on);
        go_to(&mut b, raw, next, 0);
        b.jump(over, &[]);
        b.switch_to(over);
    }
    doors.leave(&mut b, verdict);
    Ok(b.finish()?)
}

/// Makes a program that does nothing, to which a switch can lead.
pub(crate) fn nothing(name: &str) -> Result<Module, Error> {
    let mut module = Module::new(name);
    let main = module.declare(name, 1);
    let mut b = FunctionBuilder::new(name, 1);
    b.ret(0);
    module.define(main, b.finish()?);
    Ok(module)
}

/// How calls come to a program and where they go on.
#[derive(Clone, Copy)]
struct Doors {
    /// The maps of the switch, if it begins with one.
    switch: Option<(MapRef, MapRef)>,
    /// The array with the next program, if there is one.
    next: Option<MapRef>,
    /// Where threads ask for digests, if some section does.
    measures: Option<MapRef>,
}

/// Whether sections are at a place where files are measured after them.
fn is_measured(sections: &[Section]) -> bool {
    sections.iter().any(|one| one.role == Role::Whole && ima::any(&one.hook.selectors))
}

impl Doors {
    /// Begins a program: passes the call on to the program that the array has for the parity of the
    /// generation ([`map::TARGETS`]), goes on here when it has none.
    fn enter(self, b: &mut FunctionBuilder) {
        let Some((control, targets)) = self.switch else { return };
        if let Some(measures) = self.measures {
            ima::begin(b, measures);
        }
        let raw = b.param(0);
        let control = b.map_value(control, control::GENERATION);
        let generation = b.load(Size::U32, control, 0);
        let odd = b.and(generation, 1);
        let [even, otherwise, here] = [(); 3].map(|()| b.create_block());
        b.brif(Cond::Eq, odd, 0, even, otherwise);
        for (index, block) in [(0, even), (1, otherwise)] {
            b.switch_to(block);
            go_to(b, raw, targets, index);
            b.jump(here, &[]);
        }
        b.switch_to(here);
    }

    /// Ends a program that decides about the call.
    fn leave(self, b: &mut FunctionBuilder, verdict: ebpf::Value) {
        let verdict = match self.measures {
            Some(measures) => ima::end(b, measures, verdict),
            None => verdict,
        };
        b.ret(verdict);
    }
}

/// Goes to a program of an array and does not come back; goes on here when there is none.
fn go_to(b: &mut FunctionBuilder, raw: ebpf::Value, programs: MapRef, index: i64) {
    let programs = b.map(programs);
    let index = b.iconst(index);
    b.call(helper::TAIL_CALL, &[raw, programs, index]);
}

/// Calls the sections of the system call that is made or of the function that is entered, found by
/// halving.
fn dispatch(
    b: &mut FunctionBuilder,
    machine: &Machine,
    raw: ebpf::Value,
    shape: Shape,
    sections: &[Called],
    climbed: Option<Slot>,
) -> Result<(), Error> {
    let number = match shape {
        Shape::Functions => b.call(helper::GET_ATTACH_COOKIE, &[raw]),
        _ => call_number(b, machine, raw, shape)?,
    };
    let mut table: BTreeMap<u64, Vec<&Called>> = BTreeMap::new();
    for Called { id, .. } in sections.iter().filter(|called| called.numbered) {
        b.call_func(*id, &[raw, number]);
    }
    for called in sections {
        if let Some(key) = called.key {
            table.entry(key).or_default().push(called);
        }
    }
    let table: Vec<(u64, Vec<&Called>)> = table.into_iter().collect();
    halve(b, raw, number, climbed, &table);
    Ok(())
}

/// The number of the system call that is made, with bit 31 for 32-bit callers, as in lists of system calls.
fn call_number(
    b: &mut FunctionBuilder,
    machine: &Machine,
    raw: ebpf::Value,
    shape: Shape,
) -> Result<ebpf::Value, Error> {
    let read = Reader::new(b, &machine.btf);
    let number = match shape {
        Shape::SyscallEnter => b.load(Size::U64, raw, 8),
        _ => {
            let registers = b.load(Size::U64, raw, 0);
            read.get(b, Base::Typed(registers), "pt_regs", register::NUMBER)?
        }
    };
    let compat = compat(b, &read)?;
    let compat = b.shl(compat, 31);
    let number = b.and(number, 0x7fff_ffff);
    Ok(b.or(number, compat))
}

/// 1 for a system call by a 32-bit caller: `in_ia32_syscall()` tests `TS_COMPAT` of the thread.
pub(crate) fn compat(b: &mut FunctionBuilder, read: &Reader<'_>) -> Result<ebpf::Value, Error> {
    /// arch/x86/include/asm/thread_info.h
    const TS_COMPAT: i32 = 2;
    if !cfg!(target_arch = "x86_64") || !read.has("task_struct", "thread_info.status") {
        return Ok(b.iconst(0));
    }
    let task = b.call(crate::helper::GET_CURRENT_TASK_BTF, &[]);
    let status = read.get(b, Base::Typed(task), "task_struct", "thread_info.status")?;
    let status = b.and(status, TS_COMPAT);
    Ok(b.lshr(status, 1))
}

fn halve(
    b: &mut FunctionBuilder,
    raw: ebpf::Value,
    number: ebpf::Value,
    climbed: Option<Slot>,
    table: &[(u64, Vec<&Called>)],
) {
    let done = b.create_block();
    match table {
        [] => b.jump(done, &[]),
        [(key, functions)] => {
            let found = b.create_block();
            let key = b.iconst(*key as i64);
            b.brif(Cond::Eq, number, key, found, done);
            b.switch_to(found);
            for called in functions {
                called.call(b, raw, climbed);
            }
            b.jump(done, &[]);
        }
        table => {
            let (low, high) = table.split_at(table.len() / 2);
            let bound = b.iconst(high[0].0 as i64);
            let (below, above) = (b.create_block(), b.create_block());
            b.brif(Cond::Ult, number, bound, below, above);
            b.switch_to(below);
            halve(b, raw, number, climbed, low);
            b.jump(done, &[]);
            b.switch_to(above);
            halve(b, raw, number, climbed, high);
            b.jump(done, &[]);
        }
    }
    b.switch_to(done);
}
