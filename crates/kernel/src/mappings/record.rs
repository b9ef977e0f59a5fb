//! Records of perf, `enum perf_event_type` in include/uapi/linux/perf_event.h. Each ends with thread and
//! time, since that is what was asked for.

/// `PERF_RECORD_LOST`: records that the full ring did not take.
const LOST: u32 = 2;
/// `PERF_RECORD_COMM`
const COMM: u32 = 3;
/// `PERF_RECORD_MMAP2`
const MMAP2: u32 = 10;
/// `PERF_RECORD_MISC_COMM_EXEC`
const EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_MMAP_BUILD_ID`: a build id instead of device and inode.
const BUILD_ID: u16 = 1 << 14;
/// Bytes of thread and time at the end: process and thread (u32 each), time (u64).
const TRAILER: usize = 16;

/// Byte offsets in a record.
mod at {
    /// Kind (u32).
    pub(super) const KIND: usize = 0;
    /// Flags (u16).
    pub(super) const MISC: usize = 4;
    /// In most records: the process (u32).
    pub(super) const PID: usize = 8;
    /// In most records: the thread (u32).
    pub(super) const TID: usize = 12;
    /// How many were lost (u64).
    pub(super) const LOST: usize = 16;
    /// Bytes of the build id (u8).
    pub(super) const BUILD_ID_SIZE: usize = 40;
    /// The build id, at most 20 bytes.
    pub(super) const BUILD_ID: usize = 44;
    /// The file's name, with NUL.
    pub(super) const NAME: usize = 72;
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A process begins to execute another program. What it maps from now on is that program's.
    Exec {
        /// The process, in the PID namespace of whoever opened the events.
        pid: u32,
        /// When: CLOCK_MONOTONIC, ns.
        time: u64,
    },
    /// A process mapped a file to execute it.
    Mapped(Mapped),
    /// Records that a CPU's full ring did not take.
    Lost {
        /// How many, of whatever kind.
        count: u64,
        /// When that was told: CLOCK_MONOTONIC, ns.
        time: u64,
    },
}

/// A process mapped a file to execute it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The process, in the PID namespace of whoever opened the events.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// When: CLOCK_MONOTONIC, ns.
    pub time: u64,
    /// Path of the file from the process's root, at most 4096 bytes; ` (deleted)` stands behind that of a
    /// file that is no more.
    pub path: Vec<u8>,
    /// The file's build id, at most 20 bytes; empty where it has none, or where the page that it is in was
    /// not in memory.
    pub build_id: Vec<u8>,
}

impl Record {
    /// When it happened: CLOCK_MONOTONIC, ns.
    pub fn time(&self) -> u64 {
        match self {
            Self::Exec { time, .. } | Self::Lost { time, .. } => *time,
            Self::Mapped(mapped) => mapped.time,
        }
    }

    /// Reads a record; `None` for what is not told here: other names of threads, mappings of no file, and
    /// what is no record.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (body, trailer) = bytes.split_last_chunk::<TRAILER>()?;
        let time = u64::from_ne_bytes(*trailer.last_chunk()?);
        let u32 = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
        let misc = u16::from_ne_bytes(*body.get(at::MISC..)?.first_chunk()?);
        match u32(at::KIND)? {
            LOST => {
                let count = u64::from_ne_bytes(*body.get(at::LOST..)?.first_chunk()?);
                Some(Self::Lost { count, time })
            }
            COMM if misc & EXEC != 0 => Some(Self::Exec { pid: u32(at::PID)?, time }),
            MMAP2 => {
                let name = body.get(at::NAME..)?;
                let path = name.split(|byte| *byte == 0).next().filter(|path| is_file(path))?;
                let build_id = match misc & BUILD_ID != 0 {
                    true => {
                        let size = usize::from(*body.get(at::BUILD_ID_SIZE)?);
                        body.get(at::BUILD_ID..at::BUILD_ID + size.min(20))?.to_vec()
                    }
                    false => Vec::new(),
                };
                let (pid, tid) = (u32(at::PID)?, u32(at::TID)?);
                Some(Self::Mapped(Mapped { pid, tid, time, path: path.to_vec(), build_id }))
            }
            _ => None,
        }
    }
}

/// Whether it is the path of a file, and none of perf's names for what is none: `[vdso]`, `//anon`.
fn is_file(name: &[u8]) -> bool {
    let none: [&[u8]; 4] = [b"//anon", b"//enomem", b"//toolong", b"/anon_hugepage"];
    name.starts_with(b"/") && !none.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of process 7, thread 8, at time 9.
    fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(misc.to_ne_bytes());
        bytes.extend(((8 + body.len() + TRAILER) as u16).to_ne_bytes());
        bytes.extend(body);
        for number in [7_u32, 8] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(9_u64.to_ne_bytes());
        bytes
    }

    fn mapping(name: &[u8], build_id: &[u8]) -> Vec<u8> {
        let mut body = [7_u32.to_ne_bytes(), 8_u32.to_ne_bytes()].concat();
        body.resize(at::BUILD_ID_SIZE - 8, 0);
        body.extend([build_id.len() as u8, 0, 0, 0]);
        body.extend(build_id);
        body.resize(at::NAME - 8, 0);
        body.extend(name);
        body
    }

    #[test]
    fn files_with_and_without_build_id() {
        let of = |path: &[u8], build_id: &[u8]| {
            let (path, build_id) = (path.to_vec(), build_id.to_vec());
            Some(Record::Mapped(Mapped { pid: 7, tid: 8, time: 9, path, build_id }))
        };
        let id = [0xab; 20];
        let with = record(MMAP2, BUILD_ID, &mapping(b"/lib/a.so\0\0\0\0\0\0\0", &id));
        assert_eq!(Record::read(&with), of(b"/lib/a.so", &id));
        let without = record(MMAP2, 0, &mapping(b"/lib/a.so\0\0\0\0\0\0\0", &id));
        assert_eq!(Record::read(&without), of(b"/lib/a.so", b""));
        for none in [&b"[vdso]\0\0"[..], b"//anon\0\0", b"", b"//toolong\0"] {
            assert_eq!(Record::read(&record(MMAP2, 0, &mapping(none, &id))), None, "{none:?}");
        }
    }

    #[test]
    fn names_of_new_programs_and_losses() {
        let body = [7_u32.to_ne_bytes(), 8_u32.to_ne_bytes(), *b"sh\0\0"].concat();
        let (pid, time) = (7, 9);
        assert_eq!(Record::read(&record(COMM, EXEC, &body)), Some(Record::Exec { pid, time }));
        assert_eq!(Record::read(&record(COMM, 0, &body)), None);
        let body = [1_u64.to_ne_bytes(), 30_u64.to_ne_bytes()].concat();
        assert_eq!(Record::read(&record(LOST, 0, &body)), Some(Record::Lost { count: 30, time }));
    }

    #[test]
    fn what_is_cut_off_is_no_record() {
        let whole = record(MMAP2, BUILD_ID, &mapping(b"/lib/a.so\0\0\0\0\0\0\0", &[1; 20]));
        for length in 0..at::NAME + TRAILER {
            assert_eq!(Record::read(&whole[..length]), None, "{length}");
        }
    }
}
