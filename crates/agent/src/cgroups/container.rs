//! A container's identifier from the path of a cgroup.
//!
//! Runtimes name the cgroup of a container after it, in several ways:
//!
//! | who | last element of the path |
//! |---|---|
//! | docker, cgroupfs driver; kubelet with cgroupfs | `ID` |
//! | docker, systemd driver | `docker-ID.scope` |
//! | containerd, systemd driver | `cri-containerd-ID.scope` |
//! | cri-o | `crio-ID.scope`, `crio-conmon-ID.scope` |
//! | containerd without systemd below a slice | `kubepods-….slice:cri-containerd:ID` |
//! | podman | `libpod-ID.scope`, `libpod-ID.scope/container` |
//!
//! Whatever a container makes below its cgroup belongs to it, so the nearest element that names a
//! container counts.

/// Length of the identifier in the `docker` field of events.
const SHORT: usize = 31;
/// Length of a whole identifier.
const WHOLE: usize = 64;
/// Where sysbox puts what a container makes for itself.
const SYSBOX: &str = "syscont-cgroup-root";

/// The identifier of the container that a cgroup belongs to. `path` starts at the hierarchy's root.
pub fn container_id(path: &str) -> Option<&str> {
    let path = match path.split_once(SYSBOX) {
        Some((outside, _)) => outside,
        None => path,
    };
    let mut elements = path.trim_end_matches('/').rsplit('/');
    let last = elements.next()?;
    if ["pods", "docker", "libpod"].iter().any(|word| path.contains(word)) {
        let id = candidate(last);
        if id.len() >= WHOLE && !id.ends_with("service") {
            return Some(id);
        }
    }
    id_in_name(last).or_else(|| elements.find_map(id_in_name))
}

/// The identifier in a cgroup's name, which may have been cut at its end.
pub fn id_in_name(name: &str) -> Option<&str> {
    let id = candidate(name);
    (id.len() >= SHORT && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .then_some(id)
}

/// The start of an identifier, as the `docker` field has it.
pub fn short(id: &str) -> &str {
    let mut end = SHORT.min(id.len());
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    &id[..end]
}

fn candidate(name: &str) -> &str {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let name = name.rsplit(':').next().unwrap_or(name);
    name.rsplit('-').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    #[test]
    fn paths_of_containers() {
        let paths = [
            "/docker/ID",
            "/docker/ID/",
            "/docker/ID/init.scope",
            "/docker/ID/system.slice/nginx.service",
            "/system.slice/docker-ID.scope",
            "/system.slice/docker-ID.scope/init.scope/deep/deeper",
            "/kubepods/besteffort/pod8a3f-11/ID",
            "/kubepods/besteffort/pod8a3f-11/ID/sub-cgroup",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-pod1_2.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-pod1_2.slice/crio-ID.scope/container",
            "/kubepods.slice/kubepods-pod1_2.slice/crio-conmon-ID.scope",
            "/system.slice/containerd.service/kubepods-burstable-pod1_2.slice:cri-containerd:ID",
            "/machine.slice/libpod-ID.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/app.service",
            "/docker/ID/syscont-cgroup-root/init.scope",
            "/kubepods/besteffort/pod1/ID/syscont-cgroup-root/docker/OTHER",
            "/actions_job/ID",
            "/docker/OTHER/docker/ID",
            "/docker/OTHER/kubelet/kubepods/besteffort/pod1/ID/x",
        ];
        for path in paths {
            let path = path.replace("ID", ID).replace("OTHER", OTHER);
            assert_eq!(container_id(&path), Some(ID), "{path}");
        }
    }

    #[test]
    fn paths_outside_containers() {
        let paths = [
            "/",
            "",
            "/init.scope",
            "/user.slice/user-1000.slice/session-3.scope",
            "/system.slice/cron.service",
            "/system.slice/run-r0123456789abcdef0123456789abcdef.scope",
            "/kubepods/besteffort/podd0123456789abcdef0123456789abcdef",
            "/kubepods.slice/kubepods-burstable-podd0123456789abcdef0123456789abcdef.slice",
            "/kubepods/besteffort/pod8a3f1c2e-1111-2222-3333-444455556666",
            "/docker/buildkit",
            "/system.slice/docker.service",
            "/system.slice/docker-0123456789abcdef.scope",
            "/docker/a-name-that-is-long-enough-and-ends-in-a-service/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc.service",
        ];
        for path in paths {
            assert_eq!(container_id(path), None, "{path}");
        }
    }

    #[test]
    fn shortened_identifiers() {
        let whole = format!("/x/cri-containerd-{ID}.scope");
        assert_eq!(short(container_id(&whole).unwrap()), &ID[..31]);
        let cut = &format!("kubepods-besteffort-pod1_2.slice:cri-containerd:{ID}")[..80];
        assert_eq!(id_in_name(cut), Some(&ID[..32]));
        assert_eq!(id_in_name(&ID[..31]), Some(&ID[..31]));
        assert_eq!(id_in_name(&ID[..30]), None);
        let not_hexadecimal = format!("/docker/{}", "z".repeat(64));
        assert_eq!(container_id(&not_hexadecimal).map(str::len), Some(64));
        assert_eq!(short("äöü"), "äöü");
        assert_eq!(short(&"ä".repeat(31)).len(), 30);
    }
}
