//! Sections that differ in constants only, made one function that runs on a row of constants for each.
//!
//! Users write allow-lists by the hundred, one policy per workload. As functions of their own they
//! would be more than a program can hold and the verifier would see each; as rows they cost some bytes.

use super::table::{Table, TableKind, TableSpec};
use crate::Error;
use crate::flow::return_if;
use crate::helper;
use ebpf::{Cond, FuncId, Function, FunctionBuilder, Module, Size, template};
use std::collections::HashMap;

/// From so many sections of one shape on, they are folded.
pub(crate) const LEAST: usize = 8;

/// Defines the sections' functions, folded where they can be. Gives what is to be called, with the
/// keys that the sections came with.
pub(super) fn define(
    module: &mut Module,
    tables: &mut Vec<Table>,
    bodies: Vec<(Option<u64>, Function)>,
) -> Result<Vec<(Option<u64>, FuncId)>, Error> {
    let mut groups: HashMap<(Option<u64>, ebpf::Shape), usize> = HashMap::new();
    let mut ordered: Vec<(Option<u64>, Vec<Function>)> = Vec::new();
    for (key, body) in bodies {
        let index = *groups.entry((key, body.shape())).or_insert_with(|| {
            ordered.push((key, Vec::new()));
            ordered.len() - 1
        });
        ordered[index].1.push(body);
    }
    let mut called = Vec::new();
    for (key, functions) in ordered {
        let all: Vec<&Function> = functions.iter().collect();
        let folded = (functions.len() >= LEAST).then(|| template(&all)).flatten();
        match folded {
            Some(folded) => called.push((key, define_folded(module, tables, folded)?)),
            None => {
                for function in functions {
                    let id = module.declare(function.name(), function.params());
                    module.define(id, function);
                    called.push((key, id));
                }
            }
        }
    }
    Ok(called)
}

/// Defines a function that runs the folded one on each of its rows.
fn define_folded(
    module: &mut Module,
    tables: &mut Vec<Table>,
    folded: ebpf::Template,
) -> Result<FuncId, Error> {
    let name = folded.function.name().to_owned();
    let count = folded.rows.len();
    let rows = Table::of(
        tables,
        TableSpec {
            kind: TableKind::Array,
            key_size: 4,
            // Sections that are equal in everything cannot be: their numbers differ.
            value_size: folded.rows.first().map_or(0, Vec::len) as u32,
            entries: folded
                .rows
                .into_iter()
                .enumerate()
                .map(|(index, row)| ((index as u32).to_ne_bytes().to_vec(), row))
                .collect(),
        },
    );
    let rows = module.map(rows);
    let body = module.declare(&name, 2);
    let step = module.declare(format!("{name}_row"), 2);
    let all = module.declare(format!("{name}_rows"), 1);
    module.define(body, folded.function);

    // The program's context goes to the callback on the stack of its caller.
    let mut b = FunctionBuilder::new(format!("{name}_rows"), 1);
    let context = b.param(0);
    let slot = b.slot(8, 8);
    b.slot_store(Size::U64, slot, 0, context);
    let count = b.iconst(count as i64);
    let callback = b.func_addr(step);
    let state = b.slot_addr(slot, 0);
    let flags = b.iconst(0);
    b.call(helper::LOOP, &[count, callback, state, flags]);
    b.ret(0);
    module.define(all, b.finish()?);

    let mut b = FunctionBuilder::new(format!("{name}_row"), 2);
    let (index, state) = (b.param(0), b.param(1));
    let context = b.load(Size::U64, state, 0);
    let key = b.slot(4, 4);
    b.slot_store(Size::U32, key, 0, index);
    let map = b.map(rows);
    let key = b.slot_addr(key, 0);
    let row = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
    return_if(&mut b, Cond::Eq, row, 0, 0);
    b.call_func(body, &[context, row]);
    b.ret(0);
    module.define(step, b.finish()?);
    Ok(all)
}
