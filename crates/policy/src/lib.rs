//! TracingPolicy: what users write, what it means, and the schema of its CRDs.
//!
//! [`CheckedPolicy::read`] takes YAML or JSON and gives a policy that passed every check that needs
//! no kernel, or all that is wrong with it, each problem with its line, column and path:
//!
//! ```
//! let text = "
//! apiVersion: cilium.io/v1alpha1
//! kind: TracingPolicy
//! metadata: {name: connect}
//! spec:
//!   kprobes:
//!   - call: tcp_connect
//!     syscal: false
//! ";
//! let problems = policy::CheckedPolicy::read("connect.yaml", text).unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "connect.yaml:8:5 spec.kprobes[0].syscal: unknown field `syscal`: did you mean `syscall`?"
//! );
//! ```
//!
//! - [`document`]: documents field by field, declared once for decoding, defaults and schema
//! - [`checked`]: what they mean, with every value read
//! - [`evaluate`]: what they match, in plain Rust
//! - [`to_json`]: any YAML as JSON
//! - [`set_mode`]: changes the mode in a policy's text
//! - [`names`]: names of the kernel's numbers
//! - [`crd`]: the custom resource definitions
//!
//! Limits on numbers of arguments, selectors, filters, actions and values there are none, except
//! that tags are at most 16, as in the CRD.

pub mod checked;
pub mod crd;
pub mod document;
pub mod evaluate;
mod mode;
pub mod names;
mod problem;
mod record;
mod schema;
mod text;

pub use checked::{CheckedPolicy, Policy, PolicyKey};
pub use mode::set_mode;
pub use problem::{LIMIT, Mark, Problem, Problems, did_you_mean};
pub use text::to_json;
