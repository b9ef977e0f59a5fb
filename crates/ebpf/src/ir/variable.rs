//! Mutable variables, turned into SSA form after Braun and others, "Simple and Efficient
//! Construction of Static Single Assignment Form" (2013).
//!
//! No block counts as complete before the function is: a read in a block that has not set the
//! variable becomes a parameter of that block at once, and [`Variables::finish`] finds what the
//! predecessors pass for it, making parameters there in turn. Parameters that turn out to be always
//! the same value are removed afterwards ([`remove_trivial_params`](super::simplify)).

use std::collections::HashMap;

use super::cfg::Cfg;
use super::entity::{Block, Value, Var};
use super::function::{Function, Target, ValueDef};
use crate::error::{Error, Place, Problem};

/// The variables of a function under construction.
#[derive(Debug, Default)]
pub(super) struct Variables {
    count: usize,
    /// The value a variable has at the end of a block, as far as known.
    at_end: HashMap<(Block, Var), Value>,
    /// Parameters made for reads, in the order they will have in their block, behind its own.
    params: Vec<(Block, Var, Value)>,
}

impl Variables {
    pub(super) fn create(&mut self) -> Var {
        self.count += 1;
        Var::new(self.count - 1)
    }

    pub(super) fn has(&self, var: Var) -> bool {
        var.index() < self.count
    }

    pub(super) fn set(&mut self, block: Block, var: Var, value: Value) {
        self.at_end.insert((block, var), value);
    }

    /// The value that `var` has at the end of `block`, perhaps a parameter of it made for that.
    pub(super) fn get(&mut self, func: &mut Function, block: Block, var: Var) -> Value {
        *self.at_end.entry((block, var)).or_insert_with(|| {
            func.values.push(ValueDef::Param(block));
            let value = Value::new(func.values.len() - 1);
            self.params.push((block, var, value));
            value
        })
    }

    /// Adds the parameters to their blocks and passes values for them on every edge.
    pub(super) fn finish(mut self, func: &mut Function) -> Result<(), Error> {
        if self.params.is_empty() {
            return Ok(());
        }
        let cfg = Cfg::new(func);
        let mut next = 0;
        // Looking up what predecessors pass makes more parameters, which are looked up in turn.
        while let Some(&(block, var, param)) = self.params.get(next) {
            next += 1;
            if !cfg.is_reachable(block) {
                continue;
            }
            if block == Function::ENTRY {
                return Err(self.unset(func, &cfg, var));
            }
            func.block_mut(block).params.push(param);
            for &pred in &cfg.preds[block.index()] {
                let value = self.get(func, pred, var);
                // A predecessor with two edges to the block is listed twice: fill them in turn.
                let missing = func.block(block).params.len();
                let edges = func.block_mut(pred).end.iter_mut().flat_map(|end| end.targets_mut());
                let open = |t: &&mut Target| t.block == block && t.args.len() < missing;
                if let Some(target) = edges.into_iter().find(open) {
                    target.args.push(value);
                }
            }
        }
        Ok(())
    }

    /// Names a block that reads `var` though a path from the entry to it does not set it.
    fn unset(&self, func: &Function, cfg: &Cfg, var: Var) -> Error {
        let made: Vec<Block> =
            self.params.iter().filter(|(_, v, _)| *v == var).map(|&(block, ..)| block).collect();
        let first = made.iter().copied().find(|&block| cfg.is_reachable(block));
        Error::Ir {
            function: func.name.clone(),
            place: Place::Block(first.unwrap_or(Function::ENTRY)),
            problem: Problem::UnsetVariable(var, Function::ENTRY),
        }
    }
}
