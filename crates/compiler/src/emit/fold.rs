//! Sections that differ in constants only, made one function that runs on a row of constants for each.
//!
//! Users write allow-lists by the hundred, one policy per workload. As functions of their own they
//! would be more than a program can hold and the verifier would see each; as rows they cost some bytes.
//! So it is where one policy is about hundreds of system calls, of which each has a row then.

use super::table::{Table, TableKind, TableSpec};
use crate::flow::{choose, return_if, when};
use crate::follow::scopes::Scopes;
use crate::follow::workloads::{CGROUPS, WORKLOADS};
use crate::read::{Base, Reader};
use crate::test::nothing_climbed;
use crate::{Error, Machine, helper};
use ebpf::{
    Cond, FuncId, Function, FunctionBuilder, MapRef, Module, Size, Slot, Template, Value, template,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// From so many sections of one shape on, they are folded.
pub(crate) const LEAST: usize = 8;

/// Functions that all run at one system call, at most, where rows are found by its number.
const LAYERS_MAX: usize = 16;

/// How many sections of one shape are about the same system call, at most, where they are about so many
/// calls that their rows are found by the call's number; `None`: they are not.
pub(crate) fn layers(keys: impl Iterator<Item = Option<u64>>) -> Option<usize> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key?).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    (counts.len() >= LEAST && most <= LAYERS_MAX.min(counts.len())).then_some(most)
}

/// The function of a section.
pub(super) struct Body {
    /// Which system call it is for, among those of the program.
    pub(super) key: Option<u64>,
    /// The restriction to workloads without which it does nothing, by its number; none if the section
    /// is about processes of the host too.
    pub(super) restriction: Option<u32>,
    /// Its result decides about the call; it stays by itself.
    pub(super) decides: bool,
    /// It comes after the others of its system call.
    pub(super) last: bool,
    /// It takes memory for what is kept of the way up a path.
    pub(super) lent: bool,
    /// The function.
    pub(super) function: Function,
}

/// What a program calls.
pub(super) struct Called {
    /// Which system call it is for.
    pub(super) key: Option<u64>,
    /// The function.
    pub(super) id: FuncId,
    /// Its result decides about the call.
    pub(super) decides: bool,
    /// It is for several system calls, and takes the number of the one that is made too.
    pub(super) numbered: bool,
    /// It takes memory for what is kept of the way up a path.
    pub(super) lent: bool,
}

impl Called {
    /// Calls it; `climbed`: that memory.
    pub(super) fn call(
        &self,
        b: &mut FunctionBuilder,
        context: Value,
        climbed: Option<Slot>,
    ) -> Value {
        match climbed.filter(|_| self.lent) {
            Some(climbed) => {
                let climbed = b.slot_addr(climbed, 0);
                b.call_func(self.id, &[context, climbed])
            }
            None => b.call_func(self.id, &[context]),
        }
    }
}

/// A function that takes a row behind what its sections take.
#[derive(Clone, Copy)]
struct Folded {
    body: FuncId,
    /// That includes memory for what is kept of the way up a path.
    lent: bool,
}

/// What rows are chosen by.
struct Selection<'e> {
    module: &'e mut Module,
    tables: &'e mut Vec<Table>,
    machine: &'e Machine,
    scopes: &'e Scopes,
}

/// Defines the sections' functions, folded where they can be. Gives what is to be called, with the
/// keys that the sections came with.
pub(super) fn define(
    module: &mut Module,
    tables: &mut Vec<Table>,
    machine: &Machine,
    scopes: &Scopes,
    bodies: Vec<Body>,
) -> Result<Vec<Called>, Error> {
    let about = |body: &Body| (body.restriction.is_some(), body.last, body.function.shape());
    let mut ordered: Vec<Vec<Body>> = Vec::new();
    for alike in grouped(bodies, about) {
        let stay = alike.iter().any(|body| body.decides || body.last);
        match layers(alike.iter().map(|body| body.key)).filter(|_| !stay) {
            Some(layers) => ordered.extend(layered(alike, layers)),
            None => ordered.extend(grouped(alike, |body| body.key)),
        }
    }
    let mut selection = Selection { module, tables, machine, scopes };
    let mut called = Vec::new();
    for group in ordered {
        let key = group.first().and_then(|body| body.key);
        let all: Vec<&Function> = group.iter().map(|body| &body.function).collect();
        let decides = group.iter().any(|body| body.decides);
        let folded = (group.len() >= LEAST && !decides).then(|| template(&all)).flatten();
        match folded {
            Some(folded) if group.iter().any(|body| body.key != key) => {
                let keys: Vec<u32> = group.iter().filter_map(|body| body.key).map(number).collect();
                let id = selection.numbered(folded, &keys)?;
                called.push(Called { key: None, id, decides: false, numbered: true, lent: false });
            }
            Some(folded) => {
                let numbers: Option<Vec<u32>> = group.iter().map(|body| body.restriction).collect();
                let distinct = |numbers: &Vec<u32>| {
                    numbers.iter().collect::<BTreeSet<_>>().len() == numbers.len()
                };
                let id = match numbers.filter(distinct) {
                    Some(numbers) => selection.restricted(folded, &numbers)?,
                    None => selection.all(folded)?,
                };
                called.push(Called { key, id, decides: false, numbered: false, lent: false });
            }
            None => {
                for Body { key, function, decides, lent, .. } in group {
                    let id = selection.module.declare(function.name(), function.params());
                    selection.module.define(id, function);
                    called.push(Called { key, id, decides, numbered: false, lent });
                }
            }
        }
    }
    Ok(called)
}

/// What is alike together, in the order of the first of each.
fn grouped<K: Eq + Hash>(bodies: Vec<Body>, about: impl Fn(&Body) -> K) -> Vec<Vec<Body>> {
    let mut groups: HashMap<K, usize> = HashMap::new();
    let mut ordered: Vec<Vec<Body>> = Vec::new();
    for body in bodies {
        let index = *groups.entry(about(&body)).or_insert_with(|| {
            ordered.push(Vec::new());
            ordered.len() - 1
        });
        ordered[index].push(body);
    }
    ordered
}

/// Puts those about the same system call into different groups.
fn layered(bodies: Vec<Body>, layers: usize) -> Vec<Vec<Body>> {
    let mut seen: HashMap<Option<u64>, usize> = HashMap::new();
    let mut groups: Vec<Vec<Body>> = Vec::new();
    groups.resize_with(layers, Vec::new);
    for body in bodies {
        let layer = seen.entry(body.key).or_default();
        groups[*layer].push(body);
        *layer += 1;
    }
    groups
}

/// A system call as rows have it: keys have 32 bits.
fn number(key: u64) -> u32 {
    key as u32
}

// What the steps of both selections find on the stack of their caller.
/// The program's context (u64).
const CONTEXT: i16 = 0;
/// Restrictions that are left to look at, as bits (u64).
const LEFT: i16 = 8;
/// Number of the first of them (u64).
const FIRST: i16 = 16;

impl Selection<'_> {
    /// A function that runs the folded one on each of its rows.
    fn all(&mut self, folded: Template) -> Result<FuncId, Error> {
        let name = folded.function.name().to_owned();
        let count = folded.rows.len();
        let keys = 0..count as u32;
        let (body, rows) = self.rows(folded, TableKind::Array, keys);
        let step = self.module.declare(format!("{name}_row"), 2);
        let all = self.module.declare(format!("{name}_rows"), 1);

        let mut b = FunctionBuilder::new(format!("{name}_rows"), 1);
        let context = b.param(0);
        let slot = b.slot(8, 8);
        b.slot_store(Size::U64, slot, CONTEXT, context);
        repeat(&mut b, count as i64, step, slot);
        b.ret(0);
        self.module.define(all, b.finish()?);

        let mut b = FunctionBuilder::new(format!("{name}_row"), 2);
        let (index, state) = (b.param(0), b.param(1));
        let context = b.load(Size::U64, state, CONTEXT);
        run(&mut b, body, rows, index, context);
        b.ret(0);
        self.module.define(step, b.finish()?);
        Ok(all)
    }

    /// A function that runs the folded one on the row of a system call, whose number it takes behind the
    /// context, if it has one.
    fn numbered(&mut self, folded: Template, keys: &[u32]) -> Result<FuncId, Error> {
        let name = format!("{}_rows", folded.function.name());
        let (body, rows) = self.rows(folded, TableKind::Hash, keys.iter().copied());
        let one = self.module.declare(name.clone(), 2);
        let mut b = FunctionBuilder::new(name, 2);
        let (context, number) = (b.param(0), b.param(1));
        run(&mut b, body, rows, number, context);
        b.ret(0);
        self.module.define(one, b.finish()?);
        Ok(one)
    }

    /// A function that runs the folded one on those of its rows whose restrictions include the current
    /// task's workload: as many as apply, however many there are.
    fn restricted(&mut self, folded: Template, numbers: &[u32]) -> Result<FuncId, Error> {
        let name = folded.function.name().to_owned();
        let (body, rows) = self.rows(folded, TableKind::Hash, numbers.iter().copied());
        let step = self.module.declare(format!("{name}_row"), 2);
        let word = self.module.declare(format!("{name}_word"), 3);
        let some = self.module.declare(format!("{name}_rows"), 1);
        let mut words: BTreeMap<u32, u64> = BTreeMap::new();
        for number in numbers {
            *words.entry(number / 64).or_default() |= 1 << (number % 64);
        }

        let mut b = FunctionBuilder::new(format!("{name}_rows"), 1);
        let context = b.param(0);
        let read = Reader::new(&mut b, &self.machine.btf);
        let task = b.call(helper::GET_CURRENT_TASK_BTF, &[]);
        let cgroup = self.scopes.cgroup.id(&mut b, &read, Base::Typed(task))?;
        let number = lookup(&mut b, self.module.map(CGROUPS), cgroup);
        let number = b.load(Size::U64, number, 0);
        let set = lookup(&mut b, self.module.map(WORKLOADS), number);
        for (index, mask) in words {
            let held = b.load(Size::U64, set, 8 * index as i16);
            let mask = b.iconst(mask.cast_signed());
            let held = b.and(held, mask);
            when(&mut b, Cond::Ne, held, 0, |b| {
                let first = b.iconst(64 * i64::from(index));
                b.call_func(word, &[context, held, first]);
            });
        }
        b.ret(0);
        self.module.define(some, b.finish()?);

        let mut b = FunctionBuilder::new(format!("{name}_word"), 3);
        let slot = b.slot(24, 8);
        for (index, at) in [(0, CONTEXT), (1, LEFT), (2, FIRST)] {
            let value = b.param(index);
            b.slot_store(Size::U64, slot, at, value);
        }
        repeat(&mut b, 64, step, slot);
        b.ret(0);
        self.module.define(word, b.finish()?);

        let mut b = FunctionBuilder::new(format!("{name}_row"), 2);
        let state = b.param(1);
        let left = b.load(Size::U64, state, LEFT);
        return_if(&mut b, Cond::Eq, left, 0, 1);
        let less = b.sub(left, 1);
        let rest = b.and(left, less);
        b.store(Size::U64, state, LEFT, rest);
        let lowest = b.xor(left, rest);
        let bit = position(&mut b, lowest);
        let first = b.load(Size::U64, state, FIRST);
        let number = b.add(first, bit);
        let context = b.load(Size::U64, state, CONTEXT);
        run(&mut b, body, rows, number, context);
        b.ret(0);
        self.module.define(step, b.finish()?);
        Ok(some)
    }

    /// Defines the folded function and its table.
    fn rows(
        &mut self,
        folded: Template,
        kind: TableKind,
        keys: impl IntoIterator<Item = u32>,
    ) -> (Folded, MapRef) {
        let spec = TableSpec {
            kind,
            key_size: 4,
            // Not empty: the numbers of sections differ.
            value_size: folded.rows.first().map_or(0, Vec::len) as u32,
            entries: keys
                .into_iter()
                .zip(folded.rows)
                .map(|(key, row)| (key.to_ne_bytes().to_vec(), row))
                .collect(),
        };
        let rows = self.module.map(Table::of(self.tables, spec));
        let params = folded.function.params();
        let body = self.module.declare(folded.function.name(), params);
        self.module.define(body, folded.function);
        (Folded { body, lent: params > 2 }, rows)
    }
}

/// Calls `step` up to `count` times, with the address of what is in the slot.
fn repeat(b: &mut FunctionBuilder, count: i64, step: FuncId, slot: Slot) {
    let count = b.iconst(count);
    let step = b.func_addr(step);
    let state = b.slot_addr(slot, 0);
    let flags = b.iconst(0);
    b.call(helper::LOOP, &[count, step, state, flags]);
}

/// Calls the folded function on the row of this key, if there is one.
///
/// Each row goes the way up for itself: before Linux 6.6 the verifier takes memory that a callback writes
/// for what it was at the first time.
fn run(b: &mut FunctionBuilder, folded: Folded, rows: MapRef, key: Value, context: Value) {
    let slot = b.slot(4, 4);
    b.slot_store(Size::U32, slot, 0, key);
    let map = b.map(rows);
    let key = b.slot_addr(slot, 0);
    let row = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
    return_if(b, Cond::Eq, row, 0, 0);
    if folded.lent {
        let climbed = nothing_climbed(b);
        let climbed = b.slot_addr(climbed, 0);
        b.call_func(folded.body, &[context, climbed, row]);
    } else {
        b.call_func(folded.body, &[context, row]);
    }
}

/// The element of a map with this key of eight bytes; returns 0 from the function when there is none.
fn lookup(b: &mut FunctionBuilder, map: MapRef, key: Value) -> Value {
    let slot = b.slot(8, 8);
    b.slot_store(Size::U64, slot, 0, key);
    let map = b.map(map);
    let key = b.slot_addr(slot, 0);
    let value = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
    return_if(b, Cond::Eq, value, 0, 0);
    value
}

/// Which bit it is that is set.
fn position(b: &mut FunctionBuilder, bit: Value) -> Value {
    let mut at = b.iconst(0);
    // Bit n of these is set where bit k of the position n is.
    let halves: [u64; 6] = [
        0xaaaa_aaaa_aaaa_aaaa,
        0xcccc_cccc_cccc_cccc,
        0xf0f0_f0f0_f0f0_f0f0,
        0xff00_ff00_ff00_ff00,
        0xffff_0000_ffff_0000,
        0xffff_ffff_0000_0000,
    ];
    for (k, half) in halves.into_iter().enumerate() {
        let half = b.iconst(half.cast_signed());
        let there = b.and(bit, half);
        let before = at;
        at = choose(b, Cond::Ne, there, 0, |b| b.or(before, 1 << k), |_| before);
    }
    at
}
