//! Which helpers and kernel functions programs may call.
//!
//! A program that makes the call and nothing else is shown to the verifier. It looks up whether the
//! call is allowed before it looks at the arguments, so a complaint about those, which are missing, is
//! a yes.

use super::Running;
use super::instruction::{R0, call_helper, call_kernel, exit, set};
use super::kind::ProgramKind;
use super::probe::Probe;
use super::program::{Refused, load};
use crate::error::Error;

/// How the verifier says that a kind of program may not make a call; in lower case. The wordings
/// differ between kernels.
const NOT_ALLOWED: [&str; 9] = [
    // check_helper_call()
    "unknown func",
    "invalid func",
    "cannot use helper",
    "cannot call gpl",
    "helper call is not allowed",
    "helper call might sleep",
    // add_kfunc_call(), check_kfunc_call()
    "calling kernel function",
    "cannot call kernel function",
    "must be sleepable to call",
];

/// Whether programs of a kind may call a helper.
pub(super) fn helper(kernel: &Running<'_>, helper: u32, kind: ProgramKind) -> Probe {
    let Ok(helper) = i32::try_from(helper) else {
        return Probe::no(format!("no kernel has a helper {helper}"));
    };
    allowed(kernel, kind, || load(kernel, kind, &[call_helper(helper), set(R0, 0), exit()]).err())
}

/// Whether programs of a kind may call a function of the kernel.
pub(super) fn kfunc(kernel: &Running<'_>, name: &str, kind: ProgramKind) -> Probe {
    let id = match kernel.btf.find_func(name) {
        Ok(id) => id,
        Err(error) => return Probe::no(error.to_string()),
    };
    let Ok(id) = i32::try_from(id.0) else {
        return Probe::unknown(format!("type id {id} of `{name}` does not fit an instruction"));
    };
    allowed(kernel, kind, || load(kernel, kind, &[call_kernel(id), set(R0, 0), exit()]).err())
}

fn allowed(
    kernel: &Running<'_>,
    kind: ProgramKind,
    refused: impl FnOnce() -> Option<Refused>,
) -> Probe {
    // Without this, a kind that cannot be loaded at all would make all calls look forbidden.
    let loads = kernel.features.kind(kind);
    if let Some(why) = loads.why() {
        let why = format!("{kind} programs cannot be loaded to try it: {why}");
        return if matches!(loads, Probe::No { .. }) {
            Probe::no(why)
        } else {
            Probe::unknown(why)
        };
    }
    match refused() {
        None => Probe::Yes,
        Some(Refused::Kernel(Error::Rejected(rejected))) => {
            let log = rejected.log().to_ascii_lowercase();
            match NOT_ALLOWED.iter().any(|said| log.contains(said)) {
                true => Probe::failed(&Error::Rejected(rejected)),
                false => Probe::Yes,
            }
        }
        Some(refused) => refused.probe(),
    }
}
