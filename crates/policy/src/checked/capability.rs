//! Capabilities by name, as numbers and sets.

use crate::problem::{did_you_mean, excerpt};
use crate::text::integer;

/// CAP_* of `linux/capability.h`; the position is the number.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability by its name, upper and lower case taken as equal.
pub(crate) fn number(name: &str) -> Result<u8, String> {
    let name = name.trim();
    (0_u8..).zip(NAMES).find(|(_, known)| known.eq_ignore_ascii_case(name)).map_or_else(
        || {
            let hint = did_you_mean(name, NAMES).map_or_else(
                || "write a name of capabilities(7), e.g. CAP_SYS_ADMIN".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            Err(format!("`{}` is no capability: {hint}", excerpt(name)))
        },
        |(number, _)| Ok(number),
    )
}

/// A capability's number, by name or number.
pub(crate) fn name_or_number(text: &str) -> Result<u8, String> {
    match integer(text.trim()) {
        Some(value) => u8::try_from(value)
            .ok()
            .filter(|number| *number < 64)
            .ok_or_else(|| format!("{value} is no capability: 0 to 63")),
        None => number(text),
    }
}

/// A set: a number, or names separated by commas. Capability n is bit n.
pub(crate) fn set(text: &str) -> Result<u64, String> {
    if let Some(value) = integer(text.trim()) {
        return u64::try_from(value)
            .map_err(|_| format!("{value} is no set of capabilities: it is negative"));
    }
    text.split(',').try_fold(0, |set, name| Ok(set | 1 << number(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_sets() {
        assert_eq!(number("CAP_SYS_ADMIN"), Ok(21));
        assert_eq!(number("cap_checkpoint_restore"), Ok(40));
        assert_eq!(set("CAP_CHOWN, CAP_NET_RAW"), Ok(1 | 1 << 13));
        assert_eq!(set("0xff"), Ok(255));
        assert_eq!(name_or_number("21"), Ok(21));
        assert!(name_or_number("64").is_err());
        assert_eq!(
            number("CAP_SYS_ADMN").unwrap_err(),
            "`CAP_SYS_ADMN` is no capability: did you mean `CAP_SYS_ADMIN`?"
        );
        assert!(set("-1").is_err());
        assert!(set("CAP_CHOWN,").is_err());
    }
}
