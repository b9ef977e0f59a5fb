//! Policies that users of the existing system write are read as they stand.

use policy::CheckedPolicy;
use policy::checked::Mode;
use std::fs;
use std::path::{Path, PathBuf};

/// Templates, which their users fill in before they load them.
const TEMPLATES: [&str; 2] = ["egress.yaml", "network_egress_cluster.yaml"];

/// The policies beside the repository, or `None` where there are none.
fn policies(folder: &str) -> Option<Vec<PathBuf>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/policies").join(folder);
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: there is no {}", folder.display());
        return None;
    };
    let mut files: Vec<PathBuf> = entries.map_while(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Some(files)
}

#[test]
fn all_are_valid() {
    let mut wrong = String::new();
    for file in ["field", "intro"].into_iter().filter_map(policies).flatten() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        match CheckedPolicy::read(name, &text) {
            Ok(_) => assert!(!TEMPLATES.contains(&name), "{name}"),
            Err(problems) if TEMPLATES.contains(&name) => {
                for problem in problems.list {
                    assert!(problem.message.starts_with("`${"), "{problem:?}");
                }
            }
            Err(problems) => wrong += &format!("{problems}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_introduction_is_understood() {
    let Some(files) = policies("intro") else { return };
    let read = |name: &str| {
        let file = files.iter().find(|file| file.ends_with(name)).unwrap();
        CheckedPolicy::read(name, &fs::read_to_string(file).unwrap()).unwrap()
    };
    let monitoring = read("file-monitoring.yaml");
    assert_eq!((monitoring.hooks.len(), monitoring.mode()), (3, Mode::MonitorOnly));
    assert_eq!(
        monitoring.notes[0].line("p"),
        "p:18:22 spec.kprobes[0].returnArgAction: returnArgAction: Post has no effect any more: \
         returns are posted"
    );
    let symlink = read("restrict-symlink.yaml");
    assert_eq!((symlink.hooks.len(), symlink.mode()), (1, Mode::Enforce));
    assert!(symlink.notes.is_empty());
    assert_eq!(read("tcp-connect.yaml").hooks.len(), 3);
}
