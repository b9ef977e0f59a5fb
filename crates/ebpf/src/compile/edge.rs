//! Splits critical edges: an edge from a block with several successors to one with several
//! predecessors gets a block of its own, where the moves for the target's parameters can stand. Those
//! that stay empty vanish in [`layout`](super::layout).

use crate::ir::cfg::Cfg;
use crate::ir::function::{Function, Target, Terminator};

pub(super) fn split_critical_edges(func: &mut Function) {
    let cfg = Cfg::new(func);
    for &block in &cfg.order {
        let line = func.block(block).line;
        let Some(Terminator::Branch { then, otherwise, .. }) = &func.block(block).end else {
            continue;
        };
        let sides = [then, otherwise].map(|target| cfg.preds[target.block.index()].len() > 1);
        for (side, critical) in sides.into_iter().enumerate() {
            if !critical {
                continue;
            }
            let middle = func.new_block();
            let mut targets =
                func.block_mut(block).end.iter_mut().flat_map(Terminator::targets_mut);
            let through = Target { block: middle, args: Vec::new() };
            let old = targets.nth(side).map(|target| std::mem::replace(target, through));
            drop(targets);
            let middle = func.block_mut(middle);
            middle.end = old.map(Terminator::Jump);
            middle.line = line;
        }
    }
}
