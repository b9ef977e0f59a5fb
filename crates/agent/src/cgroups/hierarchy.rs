//! Which cgroup hierarchy tells of containers, and where it is mounted.
//!
//! On a machine with the unified hierarchy alone it is that one. Where the old hierarchies are mounted
//! beside it, runtimes put containers into those: memory, else pids, else cpuset. A cgroup's id is the
//! inode number of its directory and unique only within its hierarchy, so the kernel side has to take it
//! from the one chosen here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::procfs::Procfs;

/// Directories below a hierarchy's root that a scan visits at most.
const MAX_DIRECTORIES: usize = 65_536;
/// Controllers of the old hierarchies that are asked for, best first.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpuset"];

/// A cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The kernel's number of it (`cgroup->root->hierarchy_id`); 0 is the unified one.
    pub id: u32,
    /// Controller that an old hierarchy was chosen for; `None` for the unified one.
    pub controller: Option<&'static str>,
    /// Where its root directory can be reached; `None` when it is not mounted.
    pub mount: Option<PathBuf>,
}

impl Hierarchy {
    /// Chooses the hierarchy of the machine whose procfs is mounted at `procfs`.
    pub fn detect(procfs: &Path) -> Self {
        let cgroups = fs::read_to_string(procfs.join("1/cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string(procfs.join("1/mountinfo")).unwrap_or_default();
        Self::choose(&cgroups, &mounts, &Procfs::new(procfs).host_root())
    }

    /// From the text of `/proc/1/cgroup` and `/proc/1/mountinfo`, and the root directory of that process.
    fn choose(cgroups: &str, mounts: &str, root: &Path) -> Self {
        for controller in CONTROLLERS {
            let id = lines(cgroups)
                .find(|line| line.controllers.split(',').any(|name| name == controller))
                .map(|line| line.hierarchy);
            if let Some(id) = id {
                let mount = mount_of(mounts, Some(controller), root);
                return Self { id, controller: Some(controller), mount };
            }
        }
        Self { id: 0, controller: None, mount: mount_of(mounts, None, root) }
    }

    /// The process's path in this hierarchy, from the text of its `/proc/PID/cgroup`.
    pub fn path_of<'a>(&self, cgroups: &'a str) -> Option<&'a str> {
        lines(cgroups).find(|line| line.hierarchy == self.id).map(|line| line.path)
    }

    /// Cgroup id of a path, or `None` when there is no such directory any more.
    pub fn id_of(&self, path: &str) -> Option<u64> {
        let directory = self.mount.as_ref()?.join(path.trim_start_matches('/'));
        fs::metadata(directory).ok().map(|metadata| metadata.ino())
    }

    /// Calls `found` with id and path of every cgroup. Says whether it got to see all of them.
    pub fn scan(&self, mut found: impl FnMut(u64, &str)) -> bool {
        let Some(mount) = &self.mount else { return false };
        let Ok(root) = fs::metadata(mount) else { return false };
        found(root.ino(), "/");
        let mut waiting = vec![String::new()];
        let mut visited = 0;
        while let Some(path) = waiting.pop() {
            // A cgroup may vanish between its name and its content.
            let Ok(entries) = fs::read_dir(mount.join(path.trim_start_matches('/'))) else {
                continue;
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                if !kind.is_dir() {
                    continue;
                }
                visited += 1;
                if visited > MAX_DIRECTORIES {
                    return false;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                let child = format!("{path}/{}", entry.file_name().to_string_lossy());
                found(metadata.ino(), &child);
                waiting.push(child);
            }
        }
        true
    }
}

struct Line<'a> {
    hierarchy: u32,
    controllers: &'a str,
    path: &'a str,
}

/// Lines of `/proc/PID/cgroup`: `hierarchy:controllers:path`.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some(Line {
            hierarchy: fields.next()?.parse().ok()?,
            controllers: fields.next()?,
            path: fields.next()?,
        })
    })
}

/// Mount point of the unified hierarchy or of a controller's, below `root`; only where the mount shows
/// the hierarchy from its root. For the fields see proc(5), `/proc/pid/mountinfo`.
fn mount_of(mounts: &str, controller: Option<&str>, root: &Path) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let shown = fields.next()?;
        let point = fields.next()?;
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next()?;
        let options = filesystem.nth(1)?;
        let fits = match controller {
            None => kind == "cgroup2",
            Some(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
        };
        (fits && shown == "/").then(|| root.join(unescape(point).trim_start_matches('/')))
    })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str =
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "\
        35 24 0:30 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
        36 35 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        37 35 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        38 35 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn unified_alone() {
        let chosen = Hierarchy::choose("0::/init.scope\n", UNIFIED, Path::new("/proc/1/root"));
        assert_eq!(chosen.id, 0);
        assert_eq!(chosen.controller, None);
        assert_eq!(chosen.mount.as_deref(), Some(Path::new("/proc/1/root/sys/fs/cgroup")));
    }

    #[test]
    fn old_hierarchies_beside_it() {
        let cgroups = "8:pids:/a\n4:memory:/b\n1:name=systemd:/\n0::/\n";
        let chosen = Hierarchy::choose(cgroups, HYBRID, Path::new("/r"));
        assert_eq!((chosen.id, chosen.controller), (4, Some("memory")));
        assert_eq!(chosen.mount.as_deref(), Some(Path::new("/r/sys/fs/cgroup/memory")));
        assert_eq!(chosen.path_of(cgroups), Some("/b"));

        let cgroups = "8:cpu,pids:/a:with:colons\n1:name=systemd:/\n0::/\n";
        let chosen = Hierarchy::choose(cgroups, HYBRID, Path::new("/r"));
        assert_eq!((chosen.id, chosen.controller), (8, Some("pids")));
        assert_eq!(chosen.path_of(cgroups), Some("/a:with:colons"));
    }

    #[test]
    fn controllers_of_the_unified_hierarchy_are_not_old_ones() {
        let chosen = Hierarchy::choose("0::/\n", HYBRID, Path::new("/r"));
        assert_eq!(chosen.id, 0);
        assert_eq!(chosen.mount.as_deref(), Some(Path::new("/r/sys/fs/cgroup/unified")));
    }

    #[test]
    fn mounts_that_show_a_part_are_of_no_use() {
        let mounts = "36 35 0:31 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      37 35 0:31 / /run/cg\\040roup rw - cgroup2 cgroup2 rw\n";
        let chosen = Hierarchy::choose("0::/\n", mounts, Path::new("/r"));
        assert_eq!(chosen.mount.as_deref(), Some(Path::new("/r/run/cg roup")));
        let chosen = Hierarchy::choose("", "nonsense\n36 - cgroup2\n", Path::new("/r"));
        assert_eq!(chosen, Hierarchy { id: 0, controller: None, mount: None });
    }

    #[test]
    fn scan_finds_directories_with_their_numbers() {
        let root = std::env::temp_dir().join(format!("cgroup-scan-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("cgroup.procs"), "").unwrap();
        let hierarchy = Hierarchy { id: 0, controller: None, mount: Some(root.clone()) };
        let mut found = Vec::new();
        assert!(hierarchy.scan(|id, path| found.push((path.to_owned(), id))));
        found.sort();
        let names: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["/", "/a", "/a/b"]);
        assert_eq!(hierarchy.id_of("/a/b"), Some(found[2].1));
        assert_eq!(hierarchy.id_of("/none"), None);
        fs::remove_dir_all(root).unwrap();
    }
}
