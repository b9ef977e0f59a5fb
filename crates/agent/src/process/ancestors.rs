//! The way from a process up to the first ones.

use compiler::base::record::Identity;

use super::table::Table;

/// The way up is longer than any real one: entries refer to each other in a circle, or almost.
const MAX_DEPTH: usize = 4096;

/// The way up ends at an ancestor that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Those before it.
    pub found: Vec<Identity>,
    /// The one that is missing.
    pub missing: Identity,
}

impl Table {
    /// Ancestors of a process beyond its parent: from the grandparent up to pid 1 or 2. The process
    /// and its parent are not among them.
    pub fn ancestors(&self, parent: Identity) -> Result<Vec<Identity>, Broken> {
        let mut found = Vec::new();
        let mut at = parent;
        while at.pid > 2 && found.len() < MAX_DEPTH {
            let Some(entry) = self.get(at) else {
                // A parent that is missing is no ancestor; the last one found otherwise is.
                found.pop();
                return Err(Broken { found, missing: at });
            };
            at = entry.parent;
            found.push(at);
        }
        match found.last() {
            Some(&last) if self.get(last).is_none() => {
                found.pop();
                Err(Broken { found, missing: last })
            }
            _ => Ok(found),
        }
    }
}
