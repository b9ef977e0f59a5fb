//! Blocks in order, jumps that reach, and all functions as one program.
//!
//! A jump has 16 bits for its distance. One that is too far becomes `gotol` where the target has it
//! (a branch turns into its opposite around a `gotol`); elsewhere it goes over islands: jumps of their
//! own, put between it and its target. Distances are kept to half of what fits, because the kernel
//! grows programs while it verifies them (context accesses, inlined helpers) and refuses those whose
//! jumps stop fitting (`bpf_adj_branches`).

use super::Options;
use super::allocate::{Allocated, Code, CodeBlock, End, Link};
use super::reach;
use crate::error::Error;
use crate::insn::{Cond, Imm64, Insn, Reg, Source, Width};
use crate::ir::{FuncId, LineId, Module};
use crate::program::{Program, ProgramFunction, ProgramLine, Relocation};

/// A function whose jumps are final; calls and maps are not.
#[derive(Clone, Debug)]
pub(super) struct Laid {
    pub(super) code: Vec<Code>,
    /// Bytes of stack.
    pub(super) stack: u32,
}

/// A piece of a function in its final order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// The place that jumps to this number go to.
    Label(usize),
    Code(Code),
    /// Always goes to a label.
    Jump {
        to: usize,
        line: Option<LineId>,
    },
    /// Goes to a label on a condition.
    Branch {
        test: Test,
        to: usize,
        line: Option<LineId>,
    },
}

/// A comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub(super) width: Width,
    pub(super) cond: Cond,
    pub(super) dst: Reg,
    pub(super) src: Source,
}

impl Test {
    pub(super) fn insn(self, off: i16) -> Insn {
        let Self { width, cond, dst, src } = self;
        Insn::Branch { width, cond, dst, src, off }
    }
}

pub(super) fn layout(name: &str, function: Allocated, options: &Options) -> Result<Laid, Error> {
    let blocks = function.blocks;
    let threaded: Vec<usize> = (0..blocks.len()).map(|block| thread(&blocks, block)).collect();
    let items = place(&blocks, &threaded);
    let code = reach::resolve(items, blocks.len(), options.long_jumps)
        .map_err(|slots| Error::JumpTooFar { function: name.to_owned(), slots })?;
    Ok(Laid { code, stack: function.stack })
}

/// Where a jump to `block` really goes: blocks that only jump on are skipped.
fn thread(blocks: &[CodeBlock], block: usize) -> usize {
    let mut at = block;
    // A loop of empty blocks has no end; any block of it will do.
    for _ in 0..blocks.len() {
        match blocks[at].end {
            End::Jump(next) if blocks[at].body.is_empty() => at = next,
            _ => break,
        }
    }
    at
}

/// Puts the blocks that are still gone to one behind the other.
fn place(blocks: &[CodeBlock], threaded: &[usize]) -> Vec<Item> {
    let mut reached = vec![false; blocks.len()];
    let first = threaded[0];
    let mut work = vec![first];
    while let Some(block) = work.pop() {
        if !std::mem::replace(&mut reached[block], true) {
            match blocks[block].end {
                End::Exit => {}
                End::Jump(to) => work.push(threaded[to]),
                End::Branch { then, otherwise, .. } => {
                    work.extend([threaded[then], threaded[otherwise]]);
                }
            }
        }
    }
    // Execution starts with the first instruction, so what the entry leads to comes first.
    let rest = (0..blocks.len()).filter(|&block| reached[block] && block != first);
    let order: Vec<usize> = std::iter::once(first).chain(rest).collect();
    let mut items = Vec::with_capacity(blocks.iter().map(|block| block.body.len() + 3).sum());
    for (index, &block) in order.iter().enumerate() {
        let next = order.get(index + 1).copied();
        let CodeBlock { body, end, line } = &blocks[block];
        let line = *line;
        items.push(Item::Label(block));
        items.extend(body.iter().map(|&code| Item::Code(code)));
        match *end {
            End::Exit => items.push(Item::Code(Code { insn: Insn::Exit, line, link: None })),
            End::Jump(to) => jump(threaded[to], next, line, &mut items),
            End::Branch { width, cond, dst, src, then, otherwise } => {
                let (then, otherwise) = (threaded[then], threaded[otherwise]);
                let inverse = cond.inverse().filter(|_| Some(then) == next);
                let (cond, to, other) = match inverse {
                    Some(inverse) => (inverse, otherwise, then),
                    None => (cond, then, otherwise),
                };
                if to != other {
                    let test = Test { width, cond, dst, src };
                    items.push(Item::Branch { test, to, line });
                }
                jump(other, next, line, &mut items);
            }
        }
    }
    items
}

/// Goes on at `to`: by a jump unless it comes next.
fn jump(to: usize, next: Option<usize>, line: Option<LineId>, items: &mut Vec<Item>) {
    if Some(to) != next {
        items.push(Item::Jump { to, line });
    }
}

/// Puts the functions one behind the other and fills in the distances of calls.
pub(super) fn link(module: &Module, functions: Vec<(FuncId, Laid)>) -> Program {
    let mut starts = vec![0; module.functions.len()];
    let mut slot = 0;
    for (id, laid) in &functions {
        starts[id.index()] = slot;
        slot += laid.code.iter().map(|code| code.insn.slots()).sum::<usize>();
    }
    let mut program = Program {
        insns: Vec::new(),
        functions: Vec::new(),
        relocations: Vec::new(),
        maps: module.maps.clone(),
        lines: Vec::new(),
        sources: module.lines.clone(),
    };
    let mut slot = 0;
    for (id, laid) in functions {
        let declared = &module.functions[id.index()];
        program.functions.push(ProgramFunction {
            name: declared.name.clone(),
            params: declared.params,
            once: declared.once.clone(),
            slot,
            stack: laid.stack,
        });
        let first = laid.code.iter().find_map(|code| code.line);
        let mut last = None;
        for (index, code) in laid.code.into_iter().enumerate() {
            // The kernel wants a line at the start of every function if there are lines at all.
            let line = if index == 0 { first } else { code.line };
            if line.is_some() && line != last {
                last = line;
                program.lines.extend(line.map(|line| ProgramLine { slot, line: line.index() }));
            }
            let mut insn = code.insn;
            match code.link {
                None => {}
                Some(Link::Map(map)) => program
                    .relocations
                    .push(Relocation { insn: program.insns.len(), map: map.index() }),
                Some(Link::Func(callee)) => {
                    // Both count from the slot behind the first of the instruction.
                    let off = starts[callee.index()] as i32 - slot as i32 - 1;
                    insn = match insn {
                        Insn::LoadImm64 { dst, .. } => {
                            Insn::LoadImm64 { dst, imm: Imm64::Func(off) }
                        }
                        _ => Insn::CallFunc { off },
                    };
                }
            }
            slot += insn.slots();
            program.insns.push(insn);
        }
    }
    program
}
