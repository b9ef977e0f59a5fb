//! What spans functions: who calls whom, with what, and how much stack a chain of calls needs.
//!
//! The kernel allows eight active functions, no recursion, and 512 bytes of stack for the frames of
//! any chain of calls together, each rounded up to 32 bytes (`check_max_stack_depth`). A function whose
//! address is taken counts as called where that happens.

use super::layout::Laid;
use crate::error::{Error, Place, Problem};
use crate::ir::function::{Callee, Function, Op};
use crate::ir::{Block, FuncId, Inst, Module};

/// Stack that a chain of calls may use, in bytes.
pub(super) const STACK: u32 = 512;
/// Functions that may be active at once.
const DEPTH: usize = 8;

/// The function that `id` was defined as.
pub(super) fn definition(module: &Module, id: FuncId) -> Result<&Function, Error> {
    let declared = module
        .functions
        .get(id.index())
        .ok_or_else(|| Error::NotDeclared(id, String::from("nothing")))?;
    declared.function.as_ref().ok_or_else(|| Error::NotDefined(declared.name.clone()))
}

/// Checks what the functions say of each other. Returns those that the entry reaches, it first.
pub(super) fn check(module: &Module) -> Result<Vec<FuncId>, Error> {
    if let Some(error) = &module.error {
        return Err(error.clone());
    }
    if module.functions.is_empty() {
        return Err(Error::Empty(module.name.clone()));
    }
    let mut walk = Walk {
        module,
        callees: Vec::with_capacity(module.functions.len()),
        done: vec![false; module.functions.len()],
        path: Vec::new(),
        order: Vec::new(),
    };
    for index in 0..module.functions.len() {
        walk.callees.push(callees(module, FuncId::new(index))?);
    }
    walk.visit(FuncId::new(0))?;
    walk.order.reverse();
    Ok(walk.order)
}

/// Which functions `id` refers to; every reference is checked.
fn callees(module: &Module, id: FuncId) -> Result<Vec<FuncId>, Error> {
    let Some(func) = &module.functions[id.index()].function else {
        // An error only if somebody calls it.
        return Ok(Vec::new());
    };
    let mut callees = Vec::new();
    for block in func.block_ids() {
        let data = func.block(block);
        for &inst in &data.insts {
            check_inst(module, func, block, inst, &mut callees)?;
        }
        check_line(module, func, Place::Block(block), data.line)?;
    }
    Ok(callees)
}

fn check_line(
    module: &Module,
    func: &Function,
    place: Place,
    line: Option<crate::ir::LineId>,
) -> Result<(), Error> {
    match line {
        Some(line) if line.index() >= module.lines.len() => {
            let function = func.name.clone();
            Err(Error::Ir { function, place, problem: Problem::NoLine(line) })
        }
        _ => Ok(()),
    }
}

fn check_inst(
    module: &Module,
    func: &Function,
    block: Block,
    inst: Inst,
    callees: &mut Vec<FuncId>,
) -> Result<(), Error> {
    let place = || Place::Inst(block, func.inst(inst).op.to_string());
    let fail = |problem| Err(Error::Ir { function: func.name.clone(), place: place(), problem });
    let (callee, args) = match func.inst(inst).op {
        Op::Map(map) | Op::MapValue { map, .. } if map.index() >= module.maps.len() => {
            return fail(Problem::NoMap(map));
        }
        Op::FuncAddr(callee) => (callee, None),
        Op::Call { callee: Callee::Func(callee), ref args } => (callee, Some(args.len())),
        _ => return check_line(module, func, place(), func.inst(inst).line),
    };
    let Some(declared) = module.functions.get(callee.index()) else {
        return fail(Problem::NoFunction(callee));
    };
    if let Some(gets) = args.filter(|&gets| gets != declared.params) {
        let function = declared.name.clone();
        return fail(Problem::CallArguments { function, takes: declared.params, gets });
    }
    if !callees.contains(&callee) {
        callees.push(callee);
    }
    check_line(module, func, place(), func.inst(inst).line)
}

/// Depth-first walk along calls.
struct Walk<'a> {
    module: &'a Module,
    callees: Vec<Vec<FuncId>>,
    done: Vec<bool>,
    path: Vec<FuncId>,
    /// Functions after all that they call.
    order: Vec<FuncId>,
}

impl Walk<'_> {
    fn visit(&mut self, id: FuncId) -> Result<(), Error> {
        let recursive = self.path.contains(&id);
        self.path.push(id);
        if recursive {
            let start = self.path.iter().position(|&on| on == id).unwrap_or(0);
            return Err(Error::Recursion(self.names(&self.path[start..])));
        }
        if self.path.len() > DEPTH {
            return Err(Error::CallDepth(self.names(&self.path)));
        }
        definition(self.module, id)?;
        // A function reached again over a longer path has to be looked at again for its depth; with at
        // most eight levels and no recursion that stays small.
        for index in 0..self.callees[id.index()].len() {
            self.visit(self.callees[id.index()][index])?;
        }
        self.path.pop();
        if !std::mem::replace(&mut self.done[id.index()], true) {
            self.order.push(id);
        }
        Ok(())
    }

    fn names(&self, ids: &[FuncId]) -> Vec<String> {
        ids.iter().map(|id| self.module.functions[id.index()].name.clone()).collect()
    }
}

/// Checks that no chain of calls needs more stack than there is. `functions` are those compiled,
/// callers before callees.
pub(super) fn check_stack(module: &Module, functions: &[(FuncId, Laid)]) -> Result<(), Error> {
    // For each function the stack of the deepest chain that starts with it, and the next function on it.
    let mut deepest: Vec<(u32, Option<FuncId>)> = vec![(0, None); module.functions.len()];
    let frame = |id: FuncId| {
        let laid = functions.iter().find(|(of, _)| *of == id);
        laid.map_or(0, |(_, laid)| laid.stack.max(1).next_multiple_of(32))
    };
    for &(id, _) in functions.iter().rev() {
        let callees = callees(module, id)?.into_iter();
        let (below, next) = callees
            .map(|callee| (deepest[callee.index()].0, Some(callee)))
            .max_by_key(|(bytes, _)| *bytes)
            .unwrap_or((0, None));
        deepest[id.index()] = (frame(id) + below, next);
    }
    let entry = FuncId::new(0);
    let bytes = deepest[entry.index()].0;
    if bytes <= STACK {
        return Ok(());
    }
    let mut chain = Vec::new();
    let mut at = Some(entry);
    while let Some(id) = at {
        chain.push(format!("{} ({})", module.functions[id.index()].name, frame(id)));
        at = deepest[id.index()].1;
    }
    Err(Error::Stack { chain, bytes })
}
