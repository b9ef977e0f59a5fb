//! What a policy means: every name, number, address and reference in it read and checked.

mod action;
mod argument;
pub(crate) mod capability;
mod cel;
mod checker;
mod comparison;
mod field_path;
mod filter;
mod hook;
mod integer;
mod list;
mod network;
mod policy;
mod process;
mod program;
mod quoting;
mod register;
mod request;
mod scope;
mod selector;
mod settings;

pub use action::{Action, Jump, Post, RateLimit, RateLimitScope, SetRegisters};
pub use argument::{Argument, Source};
pub(crate) use capability::NAMES as CAPABILITIES;
pub use cel::{Automaton, Expression, Operation, Type};
pub use checker::{Place, Placed};
pub use comparison::{Comparison, FileType, Test, ValueKind};
pub use field_path::FieldStep;
pub use filter::{Deferred, Filter, FilterTest, Subject};
pub use hook::{Call, Function, Hook, HookKind, ReturnAction, Target};
pub use integer::Width;
pub use list::{List, Members, SyscallAbi, SyscallName};
pub use network::Cidr;
pub(crate) use network::{FAMILIES, PROTOCOLS, STATES};
pub use policy::{CheckedPolicy, Enforcer, Policy, PolicyKey};
pub use process::{
    BinaryFilter, CapabilityFilter, NamespaceChange, NamespaceFilter, NamespaceId, PathComparison,
    PidFilter,
};
pub use program::{Digest, DigestAlgorithm, Locations, Program, Symbol};
pub use register::{Assignment, RegisterSource};
pub use scope::{POD_NAMESPACE, Scope};
pub use selector::Selector;
pub use settings::{Mode, OverrideMethod, Settings};
