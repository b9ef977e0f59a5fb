//! What programs, maps, links and BTF have in common: numbers, and a place in /proc.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::errno::Errno;
use crate::error::Error;
use crate::sys::attr::ObjectId;
use crate::sys::{Command, bpf, bpf_fd};

/// Kinds of objects that have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Program,
    Map,
    Btf,
    Link,
}

impl ObjectKind {
    fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Map => "map",
            Self::Btf => "BTF",
            Self::Link => "link",
        }
    }
}

/// Opens an object by its number (needs CAP_SYS_ADMIN).
pub(crate) fn open(kind: ObjectKind, id: u32) -> Result<OwnedFd, Error> {
    let command = match kind {
        ObjectKind::Program => Command::ProgramById,
        ObjectKind::Map => Command::MapById,
        ObjectKind::Btf => Command::BtfById,
        ObjectKind::Link => Command::LinkById,
    };
    let mut attr = ObjectId { id, ..ObjectId::default() };
    // SAFETY: no addresses.
    unsafe { bpf_fd(command, &mut attr) }
        .map_err(|errno| Error::call(format!("open {} {id}", kind.name()), errno))
}

/// Numbers of all objects of a kind, rising (needs CAP_SYS_ADMIN).
pub(crate) fn ids(kind: ObjectKind) -> Result<Vec<u32>, Error> {
    let command = match kind {
        ObjectKind::Program => Command::ProgramNextId,
        ObjectKind::Map => Command::MapNextId,
        ObjectKind::Btf => Command::BtfNextId,
        ObjectKind::Link => Command::LinkNextId,
    };
    let mut ids = Vec::new();
    let mut attr = ObjectId::default();
    loop {
        // SAFETY: no addresses.
        match unsafe { bpf(command, &mut attr) } {
            Ok(_) => ids.push(attr.next_id),
            Err(Errno::ENOENT) => return Ok(ids),
            Err(errno) => return Err(Error::call(format!("list {}s", kind.name()), errno)),
        }
        attr.id = attr.next_id;
    }
}

/// Fails unless a descriptor is of a kind: what is pinned under a name may be anything, and the kernel
/// would answer questions about one kind with the other's struct.
pub(crate) fn expect(kind: ObjectKind, fd: BorrowedFd<'_>) -> Result<(), Error> {
    let path = fdinfo(fd);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::File {
        action: "read",
        path,
        source,
    })?;
    // The first of what each kind's show_fdinfo() writes.
    let field = match kind {
        ObjectKind::Program => "prog_type",
        ObjectKind::Map => "map_type",
        ObjectKind::Btf => "btf_id",
        ObjectKind::Link => "link_type",
    };
    let is = text.lines().any(|line| line.split_once(':').is_some_and(|(name, _)| name == field));
    if is { Ok(()) } else { Err(Error::WrongKind { needed: kind.name() }) }
}

fn fdinfo(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
}

/// A number that /proc/self/fdinfo tells of a descriptor.
pub(crate) fn fdinfo_number(fd: BorrowedFd<'_>, field: &str) -> Result<u64, Error> {
    let path = PathBuf::from(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let text = std::fs::read_to_string(&path).map_err(|source| Error::File {
        action: "read",
        path: path.clone(),
        source,
    })?;
    number_in(&text, field).ok_or_else(|| Error::Unreadable {
        path,
        expected: "the number of bytes that the object takes (`memlock`)",
        found: text.replace('\n', "; "),
    })
}

/// The number behind `field:` at the start of a line.
fn number_in(text: &str, field: &str) -> Option<u64> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.filter(|(name, _)| *name == field).find_map(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Call, fake};

    #[test]
    fn lists_numbers_until_there_is_none() {
        let _kernel = fake::install(|call| {
            let Call::Bpf { command: Command::LinkNextId, attr } = call else { panic!() };
            let mut value: ObjectId = fake::read_attr(attr);
            value.next_id = match value.id {
                0 => 7,
                7 => 12,
                _ => return Err(Errno::ENOENT),
            };
            fake::write_attr(attr, &value);
            Ok(0)
        });
        assert_eq!(ids(ObjectKind::Link).unwrap(), [7, 12]);
    }

    #[test]
    fn finds_a_number_in_fdinfo() {
        let text = "pos:\t0\nmap_type:\t1\nmemlock:\t81920\nmap_id:\t9\n";
        assert_eq!(number_in(text, "memlock"), Some(81920));
        assert_eq!(number_in(text, "lock"), None);
    }
}
