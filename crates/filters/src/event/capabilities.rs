//! Filters by the capabilities of a process.

use api::tetragon::{CapFilter, CapFilterSet, Capabilities as Have, CapabilitiesType};

use crate::error::FilterError;

/// What each set of a process has to be.
#[derive(Debug)]
pub(super) struct Capabilities {
    permitted: Option<Set>,
    effective: Option<Set>,
    inheritable: Option<Set>,
}

/// What one set has to be; a part that is 0 asks nothing. Bit n is capability n.
#[derive(Debug)]
struct Set {
    any: u64,
    all: u64,
    exactly: u64,
    none: u64,
}

impl Capabilities {
    pub(super) fn new(filter: &CapFilter) -> Result<Self, FilterError> {
        let set = |set: &Option<CapFilterSet>| set.as_ref().map(Set::new).transpose();
        Ok(Self {
            permitted: set(&filter.permitted)?,
            effective: set(&filter.effective)?,
            inheritable: set(&filter.inheritable)?,
        })
    }

    pub(super) fn are_those_of(&self, have: &Have) -> bool {
        let is = |set: &Option<Set>, have: &[i32]| set.as_ref().is_none_or(|set| set.takes(have));
        is(&self.permitted, &have.permitted)
            && is(&self.effective, &have.effective)
            && is(&self.inheritable, &have.inheritable)
    }
}

impl Set {
    fn new(filter: &CapFilterSet) -> Result<Self, FilterError> {
        let known = |list: &[i32]| {
            list.iter().try_fold(0, |set, number| {
                let known = CapabilitiesType::try_from(*number).is_ok();
                let error = FilterError::Number { field: "capabilities", number: *number };
                if known { Ok(set | bit(*number)) } else { Err(error) }
            })
        };
        Ok(Self {
            any: known(&filter.any)?,
            all: known(&filter.all)?,
            exactly: known(&filter.exactly)?,
            none: known(&filter.none)?,
        })
    }

    fn takes(&self, have: &[i32]) -> bool {
        let have = have.iter().fold(0, |set, number| set | bit(*number));
        (self.any == 0 || have & self.any != 0)
            && have & self.all == self.all
            && (self.exactly == 0 || have == self.exactly)
            && have & self.none == 0
    }
}

/// The bit of a capability; there are 41 (`CAP_LAST_CAP` of 6.12 is 40).
fn bit(number: i32) -> u64 {
    u32::try_from(number).ok().and_then(|number| 1u64.checked_shl(number)).unwrap_or(0)
}
