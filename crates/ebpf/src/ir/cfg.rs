//! The control flow of a function: predecessors, an order, dominators, and the removal of what
//! cannot be reached (which the kernel's verifier refuses).

use super::entity::Block;
use super::function::Function;

/// Control flow of a function, as it was when computed.
pub(crate) struct Cfg {
    /// For each block those that go to it, once per edge.
    pub(crate) preds: Vec<Vec<Block>>,
    /// Reachable blocks in reverse postorder: the entry first, a block before what it dominates, the
    /// `otherwise` side of a branch before its `then` side.
    pub(crate) order: Vec<Block>,
    /// Position in `order`; `usize::MAX` for the unreachable.
    position: Vec<usize>,
    /// For each reachable block but the entry, the closest block that every path to it passes.
    idom: Vec<Option<Block>>,
    /// When a walk over the tree of dominators comes to a block and when it leaves it: a block
    /// dominates those that it comes to in between.
    visit: Vec<(usize, usize)>,
}

impl Cfg {
    pub(crate) fn new(func: &Function) -> Self {
        let count = func.blocks.len();
        let order = reverse_postorder(func);
        let mut position = vec![usize::MAX; count];
        let mut preds = vec![Vec::new(); count];
        for (index, &block) in order.iter().enumerate() {
            position[block.index()] = index;
            for target in func.block(block).end.iter().flat_map(|end| end.targets()) {
                preds[target.block.index()].push(block);
            }
        }
        let (idom, visit) = (vec![None; count], vec![(0, 0); count]);
        let mut cfg = Self { preds, order, position, idom, visit };
        cfg.find_dominators();
        cfg.number_dominators();
        cfg
    }

    pub(crate) fn is_reachable(&self, block: Block) -> bool {
        self.position[block.index()] != usize::MAX
    }

    /// Whether every path from the entry to `b` passes `a`. Both must be reachable.
    pub(crate) fn dominates(&self, a: Block, b: Block) -> bool {
        let (come, leave) = self.visit[a.index()];
        (come..leave).contains(&self.visit[b.index()].0)
    }

    /// Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm".
    fn find_dominators(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for &block in self.order.iter().skip(1) {
                let mut idom = None;
                // From the last in order to the first: walks up the tree then stay short where many
                // blocks of a long chain go to one.
                for &pred in self.preds[block.index()].iter().rev() {
                    let known = pred == Function::ENTRY || self.idom[pred.index()].is_some();
                    if known {
                        idom = Some(idom.map_or(pred, |other| self.common(pred, other)));
                    }
                }
                if self.idom[block.index()] != idom {
                    self.idom[block.index()] = idom;
                    changed = true;
                }
            }
        }
    }

    /// Numbers the tree of dominators. A block comes behind its dominators in `order`, so sizes of
    /// subtrees add up backwards, and numbers follow forwards.
    fn number_dominators(&mut self) {
        let mut size = vec![1; self.idom.len()];
        for &block in self.order.iter().rev() {
            if let Some(up) = self.idom[block.index()] {
                size[up.index()] += size[block.index()];
            }
        }
        let mut next = vec![0; self.idom.len()];
        for &block in &self.order {
            let come = match self.idom[block.index()] {
                Some(up) => next[up.index()],
                None => 0,
            };
            let leave = come + size[block.index()];
            if let Some(up) = self.idom[block.index()] {
                next[up.index()] = leave;
            }
            next[block.index()] = come + 1;
            self.visit[block.index()] = (come, leave);
        }
    }

    /// The closest dominator of both.
    fn common(&self, mut a: Block, mut b: Block) -> Block {
        while a != b {
            let deeper =
                if self.position[a.index()] > self.position[b.index()] { &mut a } else { &mut b };
            *deeper = self.idom[deeper.index()].unwrap_or(Function::ENTRY);
        }
        a
    }
}

fn reverse_postorder(func: &Function) -> Vec<Block> {
    let mut order = Vec::with_capacity(func.blocks.len());
    let mut seen = vec![false; func.blocks.len()];
    // Blocks on the path from the entry, each with the index of the successor to look at next.
    let mut path = vec![(Function::ENTRY, 0)];
    seen[Function::ENTRY.index()] = true;
    while let Some((block, next)) = path.last_mut() {
        let successor =
            func.block(*block).end.iter().flat_map(|end| end.targets()).nth(*next).map(|t| t.block);
        *next += 1;
        match successor {
            Some(to) if !seen[to.index()] => {
                seen[to.index()] = true;
                path.push((to, 0));
            }
            Some(_) => {}
            None => {
                order.push(*block);
                path.pop();
            }
        }
    }
    order.reverse();
    order
}

/// Removes the blocks that control flow cannot reach and numbers the rest anew, in the same order.
pub(crate) fn remove_unreachable(func: &mut Function) {
    let mut reachable = vec![false; func.blocks.len()];
    for block in reverse_postorder(func) {
        reachable[block.index()] = true;
    }
    if reachable.iter().all(|&reachable| reachable) {
        return;
    }
    let mut renumbered = vec![Function::ENTRY; func.blocks.len()];
    let mut next = 0;
    for (index, &reachable) in reachable.iter().enumerate() {
        if reachable {
            renumbered[index] = Block::new(next);
            next += 1;
        }
    }
    let mut keep = reachable.iter();
    func.blocks.retain(|_| keep.next().is_some_and(|&reachable| reachable));
    for block in &mut func.blocks {
        for target in block.end.iter_mut().flat_map(|end| end.targets_mut()) {
            target.block = renumbered[target.block.index()];
        }
    }
    for def in &mut func.values {
        // Parameters of removed blocks are not used any more; where they point does not matter.
        if let super::function::ValueDef::Param(block) = def {
            *block = renumbered[block.index()];
        }
    }
}
