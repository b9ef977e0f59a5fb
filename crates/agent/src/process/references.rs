//! Reference counts of table entries, kept as the number of times each reason changed them, which is
//! what a dump shows.

/// Why a count changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Operation {
    /// The process was put into the table.
    ProcessAdd,
    /// It ended or executed something else.
    ProcessRemove,
    /// A child was put into the table.
    ParentAdd,
    /// A child ended.
    ParentRemove,
    /// A descendant below a child was put into the table.
    AncestorAdd,
    /// Such a descendant ended.
    AncestorRemove,
}

/// Names in the order of [`Operation`].
const NAMES: [&str; 6] =
    ["process++", "process--", "parent++", "parent--", "ancestor++", "ancestor--"];

/// How often each operation happened to one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct References([u32; 6]);

impl References {
    /// One more of these.
    pub fn record(&mut self, operation: Operation) {
        let times = &mut self.0[operation as usize];
        *times = times.wrapping_add(1);
    }

    /// References now. Numbers that wrapped around (a parent of four billion) still give the difference.
    pub fn count(&self) -> u32 {
        let [process, process_less, parent, parent_less, ancestor, ancestor_less] = self.0;
        process
            .wrapping_sub(process_less)
            .wrapping_add(parent)
            .wrapping_sub(parent_less)
            .wrapping_add(ancestor)
            .wrapping_sub(ancestor_less)
    }

    /// The operations that happened, with their names.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, u32)> {
        NAMES.into_iter().zip(self.0).filter(|&(_, times)| times != 0)
    }
}
