//! TracingPolicy documents, field by field as users write them.
//!
//! These types hold what the text says, with defaults filled in and nothing interpreted: values are
//! still strings. [`crate::CheckedPolicy`] is what they mean.

mod action;
mod argument;
mod hook;
mod metadata;
mod selector;
mod spec;
mod workload;

pub(crate) use workload::{is_label_name, is_label_value};

pub use crate::schema::Anything;
pub use action::{Action, ActionName};
pub use argument::{Argument, TypeName};
pub use hook::{IgnoreCall, IgnoreDigest, Kprobe, LsmHook, Tracepoint, Uprobe, Usdt};
pub use metadata::Metadata;
pub use selector::{
    ArgumentFilter, BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, NamespaceChange,
    NamespaceFilter, NamespaceKind, Operator, PidFilter, Selector, SetOperator,
};
pub use spec::{Document, Enforcer, List, ListType, NamespacedDocument, Setting, Spec};
pub use workload::{
    HostSelector, LabelOperator, LabelRequirement, LabelSelector, LabelText, Workloads,
};
