//! Removes instructions and block parameters that nothing needs.

use crate::ir::Value;
use crate::ir::cfg::Cfg;
use crate::ir::function::{Function, Op, Terminator, ValueDef};
use crate::ir::simplify::remove_param;

pub(super) fn remove_dead(func: &mut Function) {
    let cfg = Cfg::new(func);
    let needed = find_needed(func, &cfg);
    for &block in cfg.order.iter().skip(1) {
        for index in (0..func.block(block).params.len()).rev() {
            if !needed[func.block(block).params[index].index()] {
                remove_param(func, &cfg, block, index);
            }
        }
    }
    for block in &mut func.blocks {
        block.insts.retain(|inst| {
            let data = &mut func.insts[inst.index()];
            let used = data.result.is_none_or(|result| needed[result.index()]);
            if let (Op::Atomic { fetch, .. }, false) = (&mut data.op, used) {
                // Without its result it is the plain form, which leaves a register alone.
                *fetch = false;
                data.result = None;
            }
            used || !data.op.is_pure()
        });
    }
}

/// For each value whether something with an effect depends on it.
fn find_needed(func: &Function, cfg: &Cfg) -> Vec<bool> {
    let mut needed = vec![false; func.values.len()];
    let mut work = Vec::new();
    let mut need = |value: Value, work: &mut Vec<Value>| {
        if !std::mem::replace(&mut needed[value.index()], true) {
            work.push(value);
        }
    };
    for &block in &cfg.order {
        let data = func.block(block);
        for &inst in &data.insts {
            let op = &func.inst(inst).op;
            if !op.is_pure() {
                op.uses().for_each(|value| need(value, &mut work));
            }
        }
        for value in data.end.iter().flat_map(Terminator::own_uses) {
            need(value, &mut work);
        }
    }
    while let Some(value) = work.pop() {
        match func.values[value.index()] {
            ValueDef::Inst(inst) => {
                func.inst(inst).op.uses().for_each(|value| need(value, &mut work));
            }
            ValueDef::Param(block) => {
                let params = &func.block(block).params;
                let Some(index) = params.iter().position(|&param| param == value) else { continue };
                for &pred in &cfg.preds[block.index()] {
                    for target in func.block(pred).end.iter().flat_map(Terminator::targets) {
                        if target.block == block {
                            need(target.args[index], &mut work);
                        }
                    }
                }
            }
        }
    }
    needed
}
