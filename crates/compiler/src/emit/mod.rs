//! Programs of policies under construction: what every part of a hook's program shares.
//!
//! - [`Emitter`]: one function of a program, with its maps and its record
//! - [`context`]: where a hook finds its arguments
//! - [`fault_in`]: bringing in memory of the process
//! - [`fold`]: sections that differ in constants only, made one
//! - [`lines`]: the policy's lines as source lines
//! - [`load`]: from an input of the plan to a value
//! - [`operand`]: arguments of static probes
//! - [`scratch`]: memory for records and texts
//! - [`parts`]: long buffers, in records of their own
//! - [`paths`]: the paths whose topmost components filters ask for
//! - [`record`]: the record under construction
//! - [`section`]: one policy's part of a program
//! - [`table`]: tables that sections look values up in
//! - [`program`]: a program from its sections

pub(crate) mod context;
pub(crate) mod emitter;
pub(crate) mod fault_in;
pub(crate) mod fold;
pub(crate) mod lines;
pub(crate) mod load;
pub(crate) mod map;
mod operand;
pub(crate) mod parts;
mod paths;
pub(crate) mod program;
pub(crate) mod record;
pub(crate) mod scratch;
pub(crate) mod section;
pub(crate) mod table;

pub(crate) use context::Context;
pub(crate) use emitter::{Emitter, Targets};
pub(crate) use load::Loaded;
pub(crate) use paths::Paths;
