//! Credentials: `struct cred`.

use super::{Capture, Kind, bytes};
use crate::Error;
use crate::base::record::{Creds, UserNs};
use crate::emit::Emitter;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Size, Value};

/// The members with numbers of 32 bits, in the order of the record.
const NUMBERS: [&str; 13] = [
    "uid.val",
    "gid.val",
    "suid.val",
    "sgid.val",
    "euid.val",
    "egid.val",
    "fsuid.val",
    "fsgid.val",
    "securebits",
    "user_ns.level",
    "user_ns.owner.val",
    "user_ns.group.val",
    "user_ns.ns.inum",
];
/// The members with sets of capabilities; they stand behind the numbers.
const SETS: [&str; 5] =
    ["cap_inheritable", "cap_permitted", "cap_effective", "cap_bset", "cap_ambient"];
/// Where the sets are.
const SETS_START: usize = (4 * NUMBERS.len()).next_multiple_of(8);

/// Credentials.
pub(crate) struct Credentials;

impl Kind for Credentials {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let cred = e.structure(capture.loaded, "cred", capture.fault)?;
        for (index, member) in NUMBERS.iter().enumerate() {
            let value = e.read.get(&mut e.b, cred, "cred", member)?;
            e.b.store(Size::U32, capture.to, 4 * index as i16, value);
        }
        for (index, member) in SETS.iter().enumerate() {
            // kernel_cap_t is two u32 before 6.3 and one u64 since: eight bytes in the same order.
            let offset = e.read.offset("cred", member)?;
            let value = e.word(cred, offset);
            e.b.store(Size::U64, capture.to, (SETS_START + 8 * index) as i16, value);
        }
        Ok(e.b.iconst((SETS_START + 8 * SETS.len()) as i64))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let number = |index: usize| bytes::u32(bytes, 4 * index);
        let set = |index: usize| bytes::u64(bytes, SETS_START + 8 * index);
        Some(Observed::Credentials(Box::new(Creds {
            uid: number(0)?,
            gid: number(1)?,
            suid: number(2)?,
            sgid: number(3)?,
            euid: number(4)?,
            egid: number(5)?,
            fsuid: number(6)?,
            fsgid: number(7)?,
            securebits: number(8)?,
            user_ns: UserNs {
                level: number(9)? as i32,
                owner: number(10)?,
                group: number(11)?,
                inum: number(12)?,
            },
            cap_inheritable: set(0)?,
            cap_permitted: set(1)?,
            cap_effective: set(2)?,
            cap_bounding: set(3)?,
            cap_ambient: set(4)?,
        })))
    }
}
