//! User namespaces: `struct user_namespace`.
//!
//! In the record: level, owner, group and inode number, eight bytes each.

use super::{Capture, Kind, bytes};
use crate::Error;
use crate::base::record::UserNs;
use crate::emit::Emitter;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::Value;

const MEMBERS: [&str; 4] = ["level", "owner.val", "group.val", "ns.inum"];

/// A user namespace.
pub(crate) struct UserNamespace;

impl Kind for UserNamespace {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let namespace = e.structure(capture.loaded, "user_namespace", capture.fault)?;
        e.readable(namespace, capture.fault);
        e.store_members(namespace, "user_namespace", &MEMBERS, capture.to, 0)?;
        Ok(e.b.iconst(8 * MEMBERS.len() as i64))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let member = |index: usize| bytes::u64(bytes, 8 * index).map(|word| word as u32);
        Some(Observed::UserNamespace(UserNs {
            level: member(0)? as i32,
            owner: member(1)?,
            group: member(2)?,
            inum: member(3)?,
        }))
    }
}
