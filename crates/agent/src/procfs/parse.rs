//! Formats of `/proc/PID/stat` and `/proc/PID/status` (proc(5)).

use compiler::base::record::Creds;

use crate::process::identity::TICK;

/// From `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The executable's name, cut to 15 bytes.
    pub comm: String,
    /// Pid of the parent, in the pid namespace of the procfs.
    pub ppid: u32,
    /// Start since boot (CLOCK_BOOTTIME) in ns, in whole ticks: the time in the identity of a process
    /// that ran before the agent.
    pub start: u64,
    /// All its threads have ended; it only waits for its parent to take notice.
    pub zombie: bool,
}

impl Stat {
    /// Reads the line; `None` when it is not one.
    pub fn parse(line: &str) -> Option<Self> {
        // The name may hold anything, blanks and parentheses too.
        let (head, rest) = line.rsplit_once(") ")?;
        let (_, comm) = head.split_once(" (")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let ppid = fields.next()?.parse().ok()?;
        let threads: u32 = fields.nth(15)?.parse().ok()?;
        let ticks: u64 = fields.nth(1)?.parse().ok()?;
        // A leader that ended before its other threads is in state Z too.
        let zombie = matches!(state, "Z" | "X") && threads <= 1;
        Some(Self { comm: comm.to_owned(), ppid, start: ticks.saturating_mul(TICK), zombie })
    }
}

/// From `/proc/PID/status`: ids and capabilities; what is not there is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Credentials, without securebits and user namespace, which procfs does not show.
    pub creds: Creds,
}

impl Status {
    /// Reads the lines; `None` when there are no ids among them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut creds = Creds::default();
        let mut ids = 0;
        for line in text.lines() {
            let Some((name, value)) = line.split_once(":\t") else { continue };
            let set = || u64::from_str_radix(value.trim(), 16).unwrap_or(0);
            match name {
                "Uid" => {
                    [creds.uid, creds.euid, creds.suid, creds.fsuid] = four(value)?;
                    ids += 1;
                }
                "Gid" => {
                    [creds.gid, creds.egid, creds.sgid, creds.fsgid] = four(value)?;
                    ids += 1;
                }
                "CapInh" => creds.cap_inheritable = set(),
                "CapPrm" => creds.cap_permitted = set(),
                "CapEff" => creds.cap_effective = set(),
                "CapBnd" => creds.cap_bounding = set(),
                "CapAmb" => creds.cap_ambient = set(),
                _ => {}
            }
        }
        (ids == 2).then_some(Self { creds })
    }
}

fn four(text: &str) -> Option<[u32; 4]> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_any_name() {
        let tail = "S 12 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987 1000 2000";
        for name in ["cat", "a b", "x) S 1 (y", "(sd-pam)", ")", ""] {
            let stat = Stat::parse(&format!("77 ({name}) {tail}\n")).unwrap();
            let comm = name.to_owned();
            assert_eq!(stat, Stat { comm, ppid: 12, start: 9_870_000_000, zombie: false });
        }
        let zombie = |threads: u32| {
            let line = format!("7 (x) Z 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 9 0 0");
            Stat::parse(&line).unwrap().zombie
        };
        assert!(zombie(1) && !zombie(2), "a leader may end before its threads");
        for bad in ["", "77", "77 (cat) S", "77 (cat) S x 1", "77 cat S 12"] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn status() {
        let text = "Name:\tcat\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapInh:\t0000000000000001\n\
                    CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000003\nCapBnd:\t00000000000000ff\n\
                    CapAmb:\t0000000000000000\n";
        let creds = Status::parse(text).unwrap().creds;
        assert_eq!((creds.uid, creds.euid, creds.suid, creds.fsuid), (1, 2, 3, 4));
        assert_eq!((creds.gid, creds.egid, creds.sgid, creds.fsgid), (5, 6, 7, 8));
        assert_eq!(creds.cap_inheritable, 1);
        assert_eq!(creds.cap_permitted, 0x1ff_ffff_ffff);
        assert_eq!((creds.cap_effective, creds.cap_bounding, creds.cap_ambient), (3, 0xff, 0));
        assert_eq!(Status::parse("Name:\tcat\nUid:\t1\t2\t3\t4\n"), None);
        assert_eq!(Status::parse("Uid:\t1\nGid:\t1\n"), None);
    }
}
