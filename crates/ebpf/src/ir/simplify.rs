//! Clean-ups that leave a function's meaning as it is and need no knowledge of the machine.

use super::cfg::Cfg;
use super::entity::Value;
use super::function::{Function, Terminator};

/// Replaces values by others everywhere, following chains.
pub(crate) struct Renaming {
    to: Vec<Option<Value>>,
}

impl Renaming {
    pub(crate) fn new(func: &Function) -> Self {
        Self { to: vec![None; func.values.len()] }
    }

    /// From now on `from` means what `to` means.
    pub(crate) fn set(&mut self, from: Value, to: Value) {
        let to = self.get(to);
        if from != to {
            self.to[from.index()] = Some(to);
        }
    }

    /// What `value` means.
    pub(crate) fn get(&self, mut value: Value) -> Value {
        while let Some(next) = self.to.get(value.index()).copied().flatten() {
            value = next;
        }
        value
    }

    pub(crate) fn apply(&self, func: &mut Function) {
        if self.to.iter().all(Option::is_none) {
            return;
        }
        for inst in &mut func.insts {
            inst.op.each_use_mut(|value| *value = self.get(*value));
        }
        for end in func.blocks.iter_mut().filter_map(|block| block.end.as_mut()) {
            end.each_use_mut(|value| *value = self.get(*value));
        }
    }
}

/// Removes the parameters for which every edge passes the same value (or the parameter itself).
pub(crate) fn remove_trivial_params(func: &mut Function) {
    let cfg = Cfg::new(func);
    let mut renaming = Renaming::new(func);
    let mut changed = true;
    while changed {
        changed = false;
        for &block in cfg.order.iter().skip(1) {
            for index in (0..func.block(block).params.len()).rev() {
                let param = func.block(block).params[index];
                if let Some(same) = only_value(func, &cfg, &renaming, block, index, param) {
                    remove_param(func, &cfg, block, index);
                    renaming.set(param, same);
                    changed = true;
                }
            }
        }
    }
    renaming.apply(func);
}

/// The one value that all edges to `block` pass for parameter `index`, if there is one.
fn only_value(
    func: &Function,
    cfg: &Cfg,
    renaming: &Renaming,
    block: super::Block,
    index: usize,
    param: Value,
) -> Option<Value> {
    let mut only = None;
    for &pred in &cfg.preds[block.index()] {
        for target in func.block(pred).end.iter().flat_map(Terminator::targets) {
            if target.block != block {
                continue;
            }
            let arg = renaming.get(*target.args.get(index)?);
            if arg == param || only == Some(arg) {
                continue;
            }
            if only.is_some() {
                return None;
            }
            only = Some(arg);
        }
    }
    only
}

/// Takes parameter `index` from `block` and what the edges pass for it.
pub(crate) fn remove_param(func: &mut Function, cfg: &Cfg, block: super::Block, index: usize) {
    let count = func.block(block).params.len();
    func.block_mut(block).params.remove(index);
    for &pred in &cfg.preds[block.index()] {
        for target in func.block_mut(pred).end.iter_mut().flat_map(Terminator::targets_mut) {
            if target.block == block && target.args.len() == count {
                target.args.remove(index);
            }
        }
    }
}
