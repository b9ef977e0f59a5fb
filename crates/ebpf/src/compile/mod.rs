//! From IR to instructions.
//!
//! 1. `legalize`: what the target lacks is expressed by what it has.
//! 2. `fold` and `dead`: constants into immediates, known branches away, unused code away.
//! 3. `edge`: edges that moves cannot be put on get a block of their own.
//! 4. `lower`: two-operand instructions over virtual registers, with the calling convention's
//!    constraints; constants and addresses are made again at each use rather than kept.
//! 5. `allocate`: registers by `regalloc2`, and the frame: slots from the top, spilled values below.
//! 6. `layout`: blocks in order, jumps that reach.
//!
//! What the kernel's verifier knows of a value it knows of the register or stack slot that holds it,
//! so nothing here may lose that: values move whole (64-bit moves, 8-byte stores to aligned slots, both
//! of which the verifier tracks), a comparison is made on the value itself and never on a narrower
//! copy, and when the register compared is only a copy of a spilled value, it is stored back behind the
//! comparison (see `allocate`), because older kernels (6.1 for one) do not carry bounds from a reloaded
//! scalar over to the stack slot it came from.

mod allocate;
mod calls;
mod dead;
mod edge;
mod fold;
mod layout;
mod legalize;
mod lower;
mod reach;
mod vcode;

use crate::error::Error;
use crate::ir::cfg::remove_unreachable;
use crate::ir::function::Function;
use crate::ir::simplify::remove_trivial_params;
use crate::ir::{Module, verify};
use crate::program::Program;

/// What the target kernel understands, and how to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `gotol` exists (Linux 6.6). Without it, jumps over more than 16 bits go over islands.
    pub long_jumps: bool,
    /// Sign-extending moves and loads and signed division exist (Linux 6.6, "cpu v4"). Without them,
    /// a few instructions do the same.
    pub sign_extension: bool,
    /// Have an independent checker prove every register assignment. For tests: it takes longer than
    /// the assignment itself.
    pub check_registers: bool,
}

impl Module {
    /// Compiles the entry and all functions it reaches. The module stays as it is.
    ///
    /// # Errors
    ///
    /// Functions that are not well-formed; what their own verification cannot see: undefined or wrongly called functions,
    /// unknown maps, recursion; and what the kernel would refuse: frames or chains of calls that need
    /// more than 512 bytes of stack.
    pub fn compile(&self, options: &Options) -> Result<Program, Error> {
        let mut module = self.clone();
        module.optimize(options)?;
        let order = calls::check(&module)?;
        let mut functions = Vec::with_capacity(order.len());
        for &id in &order {
            let function = calls::definition(&module, id)?;
            let code = lower::lower(function, options);
            let allocated = allocate::allocate(function, &code, options)?;
            functions.push((id, layout::layout(function.name(), allocated, options)?));
        }
        calls::check_stack(&module, &functions)?;
        Ok(layout::link(&module, functions))
    }

    /// Takes back the definitions of functions that the entry does not reach, which no program would
    /// have.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile), for what functions say of each other.
    pub fn drop_unreached(&mut self) -> Result<(), Error> {
        let reached = calls::check(self)?;
        for (index, declared) in self.functions.iter_mut().enumerate() {
            if !reached.iter().any(|id| id.index() == index) {
                declared.function = None;
            }
        }
        Ok(())
    }

    /// Runs the passes before register allocation, as [`compile`](Self::compile) does on its copy.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile), but for what concerns the stack.
    pub fn optimize(&mut self, options: &Options) -> Result<(), Error> {
        calls::check(self)?;
        for declared in &mut self.functions {
            if let Some(function) = &mut declared.function {
                optimize(function, options)?;
            }
        }
        Ok(())
    }
}

fn optimize(func: &mut Function, options: &Options) -> Result<(), Error> {
    verify::function(func)?;
    legalize::legalize(func, options);
    // A branch that goes away can make values constant further down.
    while fold::fold(func) {
        remove_unreachable(func);
        remove_trivial_params(func);
    }
    dead::remove_dead(func);
    edge::split_critical_edges(func);
    verify::function(func)
}
