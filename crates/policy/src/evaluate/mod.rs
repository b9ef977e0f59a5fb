//! The reference evaluator: what a checked policy matches, stated in plain Rust over abstract events.
//!
//! It reads no memory and knows no kernel; an [`Event`] says what happened and this module says which
//! selector acts. Compiled programs have to agree with it, and whoever wants to know what a policy would
//! have done with recorded events asks it. One file per subject, each to be read as the definition:
//!
//! | file | defines |
//! |---|---|
//! | `truth` | what "cannot be told" does to a filter |
//! | `integer`, `text`, `network`, `file`, `capability`, `syscall`, `expression` | the operators |
//! | `process`, `binary`, `namespace`, `workload` | the filters by process |
//! | `selector` | how filters make selectors, and selectors a hook; entry and return |
//! | `event`, `value` | what there is to ask about |
//!
//! # What holds everywhere
//!
//! - A filter asks one question. Several values in it are alternatives. A negated operator (`Not…`)
//!   holds when none of the values does.
//! - A question can be without answer: the value could not be read, the executable is unknown, the
//!   socket has no internet address. Then **neither the operator nor its negation holds**. A filter
//!   that denies by what it does not see would deny at random.
//! - All filters of a selector must hold; so must all entries of one list (several `matchPIDs`, say).
//! - There are no limits: not on the number of values, nor on the length of a prefix, nor on
//!   generations of ancestors. Integers are compared in the full width and with the sign of their type.
//!
//! # Decisions
//!
//! | subject | decision | because |
//! |---|---|---|
//! | parent unknown | `matchParentBinaries` does not hold, whatever its operator | as for the process's own executable |
//! | `isNamespacePID` | processes of the host's pid namespace have the id 0; `followForks` looks at ancestors in the same pid namespace only | ids mean something in one namespace only; so `NotIn [0]` is "not of the host", `NotIn [1]` "not descended from the container's first process" |
//! | `followChildren` | a process of unknown executable still descends from its ancestors | what an ancestor was is known |
//! | changes of namespaces and capabilities | are taken as seen when the whole selector matches | a call that the selector does not match must not use the change up |
//! | return filters | belong to their selector: the first selector acts whose entry part held *and* whose return part holds | selectors are alternatives, also where they differ in the return value only |
//! | IPv4-mapped IPv6 addresses | lie in IPv4 networks too | a socket of family AF_INET6 can reach IPv4 hosts |
//! | empty path (pipe, socket, anonymous file) | no operator on paths holds, nor its negation | it has no path |
//! | abstract Unix addresses | are compared as events show them, `@name` | users copy them from events |

mod binary;
mod capability;
mod event;
mod expression;
mod file;
#[cfg(feature = "generate")]
pub mod generate;
mod integer;
mod namespace;
mod network;
mod process;
mod selector;
mod syscall;
mod text;
mod truth;
mod value;
mod workload;

pub use event::{Capabilities, Container, Event, Image, Namespaces, Process, Workload};
pub use selector::{Entry, Match, Recorded, Selectors};
pub use value::{End, Socket, Value};
pub use workload::{applies, applies_to_node, includes};
