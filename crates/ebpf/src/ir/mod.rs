//! The intermediate representation: functions in SSA form over 64-bit values, as programs are built
//! and before they get registers.

mod builder;
pub(crate) mod cfg;
mod cursor;
mod entity;
pub(crate) mod function;
pub(crate) mod module;
mod parse;
pub(crate) mod simplify;
mod template;
mod text;
mod variable;
pub(crate) mod verify;

pub use builder::FunctionBuilder;
pub use entity::{Block, FuncId, Inst, LineId, MapRef, Slot, Value, Var};
pub use function::{Function, Kfunc, Operand};
pub use module::{Module, Param};
pub use template::{Shape, Template, template};
