//! Stacks of events: from addresses to names.
//!
//! Names are looked up by a thread of its own, because that may take long: the kernel's symbols are a file
//! of 10 MB, a program's can be larger. The event waits for them in the [`Outbox`], and so do those behind
//! it, but not for long: then it is sent without. What the thread keeps is bounded, and given up when
//! nobody has asked for a minute.
//!
//! - [`Naming`]: hands stacks to the thread
//! - [`Trace`]: a stack on its way
//! - [`Outbox`]: events on their way
//! - `kernel`: the kernel's functions
//! - `user`: functions of programs, by what the process has mapped
//! - `maps`: what a process has mapped
//! - `demangle`: names as they were written

mod demangle;
mod kernel;
mod maps;
mod naming;
mod outbox;
mod trace;
mod user;

pub use naming::{Naming, Settings};
pub use outbox::{Counters, Emit, Outbox};
pub use trace::{Frames, Trace};
