//! Filters by the process in which a hook fires. Each goes on when it holds, else to `otherwise`.

use crate::Error;
use crate::emit::Emitter;
use ebpf::Block;
use policy::checked::{
    BinaryFilter, CapabilityFilter, NamespaceChange, NamespaceFilter, PidFilter, Scope,
};

macro_rules! later {
    ($($name:ident($filter:ty);)*) => {
        $(pub(crate) fn $name(_: &mut Emitter<'_>, _: &$filter, _: Block) -> Result<(), Error> {
            Err(Error::Unsupported(stringify!($name).to_owned()))
        })*
    };
}

later! {
    workloads(Scope);
    pids(PidFilter);
    namespaces(NamespaceFilter);
    capabilities(CapabilityFilter);
    namespace_changes(NamespaceChange);
    capability_changes(CapabilityFilter);
    binaries(BinaryFilter);
    parent_binaries(BinaryFilter);
}
