//! matchPIDs. In: the process's id is one of these; NotIn: none of these. With `isNamespacePID` ids
//! are those in the process's own pid namespace, 0 for processes of the host's. With `followForks` the same is asked of
//! all that the process descends from: In holds when one of them all is listed, NotIn when none is.

use super::set;
use crate::Error;
use crate::base::state;
use crate::emit::Emitter;
use crate::follow::ancestry::{Ancestry, at};
use crate::helper;
use crate::read::Base;
use ebpf::Block;
use policy::checked::PidFilter;

pub(crate) fn pids(e: &mut Emitter<'_>, filter: &PidFilter, otherwise: Block) -> Result<(), Error> {
    if let Some(ancestry) = Ancestry::of_pids(filter) {
        let on = e.b.create_block();
        let (yes, no) = if filter.negated { (otherwise, on) } else { (on, otherwise) };
        e.ancestry(&ancestry, at::MATCHED, yes, otherwise)?;
        e.b.jump(no, &[]);
        e.b.switch_to(on);
        return Ok(());
    }
    let pid = if filter.in_namespace {
        let task = e.current();
        let leader = e.read.get(&mut e.b, Base::Typed(task), "task_struct", "group_leader")?;
        state::pid_namespace(&mut e.b, &e.read, Base::Address(leader))?.0
    } else {
        let ids = e.b.call(helper::GET_CURRENT_PID_TGID, &[]);
        e.b.lshr(ids, 32)
    };
    let values = filter.values.iter().copied();
    if filter.negated {
        set::find(&mut e.b, pid, values, otherwise);
    } else {
        let found = e.b.create_block();
        set::find(&mut e.b, pid, values, found);
        e.b.jump(otherwise, &[]);
        e.b.switch_to(found);
    }
    Ok(())
}
