//! Capabilities: matchCapabilities, matchCapabilityChanges and the operator CapabilitiesGained.

use super::event::Event;
use super::namespace::outside_host_user_namespace;
use super::value::Value;
use crate::checked::CapabilityFilter;

/// matchCapabilities. In: one of the listed capabilities is in the set; NotIn: none is.
pub(super) fn holds(filter: &CapabilityFilter, event: &Event) -> bool {
    let common = event.process.capabilities.set(filter.set) & filter.mask;
    let one = common != 0;
    applies(filter, event) && one != filter.negated
}

/// matchCapabilityChanges, against what is recorded. In: one of the listed capabilities came or went.
/// NotIn: others did, and none of the listed. Without a record there is no telling.
pub(super) fn changed(filter: &CapabilityFilter, event: &Event) -> bool {
    let Some(recorded) = &event.process.recorded_capabilities else { return false };
    let changed = recorded.set(filter.set) ^ event.process.capabilities.set(filter.set);
    let listed = changed & filter.mask != 0;
    applies(filter, event) && changed != 0 && listed != filter.negated
}

/// `isNamespaceCapability`: only processes outside of the host's user namespace, for In and NotIn.
fn applies(filter: &CapabilityFilter, event: &Event) -> bool {
    !filter.outside_host_user_namespace || outside_host_user_namespace(event)
}

/// CapabilitiesGained: the set after has a capability that the set before lacks.
pub(super) fn gained(before: &Value, after: &Value) -> Option<bool> {
    match (before, after) {
        (Value::CapabilitySet(before), Value::CapabilitySet(after)) => Some(after & !before != 0),
        _ => None,
    }
}
