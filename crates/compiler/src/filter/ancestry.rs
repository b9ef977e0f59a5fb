//! The answers that [`ancestry`](crate::follow::ancestry) keeps.

use crate::Error;
use crate::base::state;
use crate::emit::Emitter;
use crate::follow::ancestry::Ancestry;
use ebpf::{Block, Cond, Size};

impl Emitter<'_> {
    /// Goes to `yes` when the answer (at [`at::MATCHED`](crate::follow::ancestry::at) or
    /// [`at::PARENT`](crate::follow::ancestry::at)) is that it is so of the current process, to
    /// `unknown` when there is none, and else goes on here.
    pub(super) fn ancestry(
        &mut self,
        ancestry: &Ancestry,
        answer: i16,
        yes: Block,
        unknown: Block,
    ) -> Result<(), Error> {
        let records = self.kept(&ancestry.name());
        let leader = self.leader(unknown)?;
        let record = state::lookup(&mut self.b, records, leader, false);
        self.require(Cond::Ne, record, 0, unknown);
        let matched = self.b.load(Size::U64, record, answer);
        self.unless(Cond::Ne, matched, 0, yes);
        Ok(())
    }
}
