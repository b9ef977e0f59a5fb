//! Credentials, capabilities and namespaces in the form of the API, and what an exec changed of them.

use api::tetragon as wire;
use compiler::base::record::{Creds, Exec, UserNs};

use super::entry::ImageNamespaces;
use crate::procfs::HostNamespaces;

/// Highest capability that the API has a name for (CAP_CHECKPOINT_RESTORE).
const LAST_CAPABILITY: u32 = 40;
/// Bits of `struct cred.securebits` (include/uapi/linux/securebits.h); their values are those of the
/// API's enum.
const SECUREBITS: u32 = 8;

fn capabilities_of(set: u64) -> Vec<i32> {
    (0..=LAST_CAPABILITY).filter(|bit| set >> bit & 1 == 1).map(|bit| bit as i32).collect()
}

/// Capability sets, ascending by number.
pub fn capabilities(creds: &Creds) -> wire::Capabilities {
    wire::Capabilities {
        permitted: capabilities_of(creds.cap_permitted),
        effective: capabilities_of(creds.cap_effective),
        inheritable: capabilities_of(creds.cap_inheritable),
    }
}

/// Credentials with their capabilities and user namespace.
pub fn credentials(creds: &Creds, host: &HostNamespaces) -> wire::ProcessCredentials {
    wire::ProcessCredentials {
        uid: Some(creds.uid),
        gid: Some(creds.gid),
        euid: Some(creds.euid),
        egid: Some(creds.egid),
        suid: Some(creds.suid),
        sgid: Some(creds.sgid),
        fsuid: Some(creds.fsuid),
        fsgid: Some(creds.fsgid),
        securebits: (0..SECUREBITS)
            .map(|bit| 1 << bit)
            .filter(|bit| creds.securebits & bit != 0)
            .map(|bit| bit as i32)
            .collect(),
        caps: Some(capabilities(creds)),
        user_ns: Some(user_namespace(&creds.user_ns, host)),
    }
}

/// A user namespace with its owner.
pub fn user_namespace(of: &UserNs, host: &HostNamespaces) -> wire::UserNamespace {
    wire::UserNamespace {
        level: Some(of.level),
        uid: Some(of.owner),
        gid: Some(of.group),
        ns: Some(namespace(of.inum, host.user)),
    }
}

fn namespace(inum: u32, host: u32) -> wire::Namespace {
    wire::Namespace { inum, is_host: inum == host }
}

/// Namespaces, each compared with the host's; without those that this kernel does not have.
pub fn namespaces(ns: &ImageNamespaces, host: &HostNamespaces) -> wire::Namespaces {
    let known = |inum, host| (inum != 0).then(|| namespace(inum, host));
    let (of, at) = (&ns.others, &host.others);
    wire::Namespaces {
        uts: known(of.uts, at.uts),
        ipc: known(of.ipc, at.ipc),
        mnt: known(of.mnt, at.mnt),
        pid: known(of.pid, at.pid),
        pid_for_children: known(of.pid_for_children, at.pid_for_children),
        net: known(of.net, at.net),
        time: known(of.time, at.time),
        time_for_children: known(of.time_for_children, at.time_for_children),
        cgroup: known(of.cgroup, at.cgroup),
        user: known(ns.user, host.user),
    }
}

/// What is remarkable about an executed file: ids and privileges that it gave, and that no name leads
/// to it. `None` when nothing is.
pub fn binary_properties(exec: &Exec<'_>) -> Option<wire::BinaryProperties> {
    use wire::ProcessPrivilegesChanged as Changed;
    let creds = &exec.creds;
    let mut properties = wire::BinaryProperties::default();
    if exec.secureexec {
        let mut changed = Vec::new();
        let raised = creds.cap_permitted & !creds.cap_ambient;
        if creds.uid != 0 && creds.euid != 0 && raised != 0 {
            changed.push(Changed::PrivilegesRaisedExecFileCap);
        }
        if creds.euid != creds.uid {
            properties.setuid = Some(creds.euid);
            if creds.euid == 0 {
                changed.push(Changed::PrivilegesRaisedExecFileSetuid);
            }
        }
        if creds.egid != creds.gid {
            properties.setgid = Some(creds.egid);
            if creds.egid == 0 {
                changed.push(Changed::PrivilegesRaisedExecFileSetgid);
            }
        }
        properties.privileges_changed = changed.into_iter().map(i32::from).collect();
    }
    if exec.links == 0 {
        properties.file = Some(wire::FileProperties {
            inode: Some(wire::InodeProperties { number: exec.inode, links: Some(exec.links) }),
            path: String::from_utf8_lossy(exec.exe).into_owned(),
        });
    }
    (properties != wire::BinaryProperties::default()).then_some(properties)
}

#[cfg(test)]
mod tests {
    use compiler::base::record::{Namespaces, Record};

    use super::*;
    use crate::test_records::ExecRecord;

    fn properties(change: impl FnOnce(&mut ExecRecord)) -> Option<wire::BinaryProperties> {
        let mut record = ExecRecord { links: 1, ..ExecRecord::default() };
        change(&mut record);
        let bytes = record.encode();
        match Record::decode(&bytes).unwrap() {
            Record::Exec(exec) => binary_properties(&exec),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_exec_has_no_properties() {
        assert_eq!(properties(|_| {}), None);
        assert_eq!(
            properties(|r| r.creds.euid = 1),
            None,
            "ids that differed before the exec are none of its doing"
        );
    }

    #[test]
    fn set_id_and_file_capabilities() {
        use wire::ProcessPrivilegesChanged as Changed;
        let sudo = properties(|r| {
            r.secureexec = true;
            (r.creds.uid, r.creds.euid) = (1000, 0);
            r.creds.cap_permitted = u64::MAX;
        })
        .unwrap();
        assert_eq!(sudo.setuid, Some(0));
        assert_eq!(sudo.setgid, None);
        assert_eq!(sudo.privileges_changed, [i32::from(Changed::PrivilegesRaisedExecFileSetuid)]);
        assert_eq!(sudo.file, None);

        let other_user = properties(|r| {
            r.secureexec = true;
            (r.creds.uid, r.creds.euid) = (1000, 1001);
        })
        .unwrap();
        assert_eq!(other_user.setuid, Some(1001));
        assert!(other_user.privileges_changed.is_empty());

        let group = properties(|r| {
            r.secureexec = true;
            (r.creds.uid, r.creds.euid) = (1000, 1000);
            (r.creds.gid, r.creds.egid) = (1000, 0);
        })
        .unwrap();
        assert_eq!(group.setgid, Some(0));
        assert_eq!(group.privileges_changed, [i32::from(Changed::PrivilegesRaisedExecFileSetgid)]);

        let ping = properties(|r| {
            r.secureexec = true;
            (r.creds.uid, r.creds.euid) = (1000, 1000);
            r.creds.cap_permitted = 1 << 13;
        })
        .unwrap();
        assert_eq!(ping.privileges_changed, [i32::from(Changed::PrivilegesRaisedExecFileCap)]);
        assert_eq!((ping.setuid, ping.setgid), (None, None));

        let ambient = properties(|r| {
            r.secureexec = true;
            (r.creds.uid, r.creds.euid) = (1000, 1000);
            (r.creds.cap_permitted, r.creds.cap_ambient) = (1 << 13, 1 << 13);
        });
        assert_eq!(ambient, None);
    }

    #[test]
    fn file_without_a_name() {
        let memfd = properties(|r| {
            r.links = 0;
            r.inode = 77;
            r.exe = b"/memfd:x".to_vec();
        })
        .unwrap();
        let file = memfd.file.unwrap();
        assert_eq!(file.path, "/memfd:x");
        assert_eq!(file.inode.unwrap(), wire::InodeProperties { number: 77, links: Some(0) });
    }

    #[test]
    fn capabilities_ascend_and_unnamed_ones_are_left_out() {
        let creds = Creds {
            cap_permitted: u64::MAX,
            cap_effective: 1 | 1 << 21 | 1 << 40,
            ..Creds::default()
        };
        let caps = capabilities(&creds);
        assert_eq!(caps.permitted, (0..=40).collect::<Vec<i32>>());
        assert_eq!(caps.effective, [0, 21, 40]);
        assert!(caps.inheritable.is_empty());
        assert!(caps.permitted.iter().all(|&cap| wire::CapabilitiesType::try_from(cap).is_ok()));
    }

    #[test]
    fn securebits_and_user_namespace() {
        let creds = Creds {
            securebits: 0b1010_0101,
            user_ns: UserNs { level: 1, owner: 5, group: 6, inum: 9 },
            ..Creds::default()
        };
        let host = HostNamespaces { user: 8, ..HostNamespaces::default() };
        let sent = credentials(&creds, &host);
        assert_eq!(sent.securebits, [1, 4, 32, 128]);
        assert!(sent.securebits.iter().all(|&bit| wire::SecureBitsType::try_from(bit).is_ok()));
        let ns = sent.user_ns.unwrap();
        assert_eq!((ns.level, ns.uid, ns.gid), (Some(1), Some(5), Some(6)));
        assert_eq!(ns.ns.unwrap(), wire::Namespace { inum: 9, is_host: false });
    }

    #[test]
    fn namespaces_that_the_kernel_lacks_are_left_out() {
        let host = HostNamespaces {
            others: Namespaces { mnt: 3, net: 4, ..Namespaces::default() },
            user: 5,
        };
        let ns = ImageNamespaces {
            others: Namespaces { mnt: 3, net: 40, ..Namespaces::default() },
            user: 5,
        };
        let sent = namespaces(&ns, &host);
        assert_eq!(sent.mnt.unwrap(), wire::Namespace { inum: 3, is_host: true });
        assert_eq!(sent.net.unwrap(), wire::Namespace { inum: 40, is_host: false });
        assert_eq!(sent.user.unwrap(), wire::Namespace { inum: 5, is_host: true });
        assert_eq!((sent.time, sent.time_for_children), (None, None));
    }
}
