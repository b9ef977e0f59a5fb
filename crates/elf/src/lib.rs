//! Executables and libraries as probes see them: an ELF file that is open, where in it the code of a
//! function is, and what it says of itself.
//!
//! - [`ProgramFile`]: the open file
//! - [`Contents`]: its segments, symbols and sections
//! - [`Function`]: a function by its name, from the symbol tables or from Go's own table
//! - [`StaticProbe`]: a static probe (USDT), with where its arguments are
//! - [`Operand`]: where an argument of a static probe is
//! - [`enum@Hash`]: digests of the file
//! - [`Symbols`]: names for places in its code

mod contents;
mod digest;
mod error;
mod file;
mod function;
mod go;
mod operand;
mod static_probe;
mod symbols;
#[cfg(any(test, feature = "synthetic"))]
pub mod synthetic;

pub use contents::{Architecture, Contents};
pub use digest::Hash;
pub use error::Error;
pub use file::ProgramFile;
pub use function::{Function, FunctionKind};
pub use operand::{Operand, OperandError, Place};
pub use static_probe::StaticProbe;
pub use symbols::Symbols;
