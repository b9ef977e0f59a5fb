//! The initramfs of a test VM: the staged binaries, the shared libraries that they load, and what
//! init needs to start. Nothing else is in the VM; init mounts the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cpio::Archive;

/// Where the test binary finds its arguments, one per line.
const ARGUMENTS: &str = "vmtest.arguments";

/// Makes the archive.
///
/// * `stage` - directory whose files become `/bin`
/// * `wanted` - which of them, by name
/// * `arguments` - for the test binary; none may contain a newline
pub(crate) fn build(
    stage: &Path,
    wanted: impl Fn(&str) -> bool,
    arguments: &[String],
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "var", "root"] {
        archive.directory(directory);
    }
    // The kernel opens this as init's standard streams, before anything is mounted.
    archive.character_device("dev/console", (5, 1));
    archive.symlink("init", "/bin/vmtest");
    archive.symlink("var/run", "/run");
    archive.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
    );
    archive.file("etc/group", 0o644, b"root:x:0:\nuser:x:1000:\n");
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n");
    for applet in ["sh", "sleep", "true"] {
        archive.symlink(&format!("bin/{applet}"), "/bin/busybox");
    }

    let mut libraries = BTreeMap::new();
    for entry in fs::read_dir(stage)? {
        let path = entry?.path();
        let name = path.file_name().context("a file without a name")?.to_string_lossy();
        if name.starts_with('.') || !wanted(&name) {
            continue;
        }
        archive.file(&format!("bin/{name}"), 0o755, &fs::read(&path)?);
        if path.extension().is_none_or(|extension| extension != "yaml") {
            libraries.extend(shared_libraries(&path)?);
        }
    }
    let mut directories = Vec::new();
    for (at, source) in &libraries {
        add_parents(&mut archive, &mut directories, at);
        archive.file(at, 0o755, &fs::read(source)?);
    }
    ensure!(arguments.iter().all(|line| !line.contains('\n')), "a test argument has a newline");
    archive.file(ARGUMENTS, 0o644, arguments.join("\n").as_bytes());
    Ok(archive.finish())
}

fn add_parents(archive: &mut Archive, known: &mut Vec<String>, path: &str) {
    for (end, _) in path.match_indices('/') {
        let directory = path[..end].to_owned();
        if !known.contains(&directory) {
            archive.directory(&directory);
            known.push(directory);
        }
    }
}

/// Shared libraries that an executable loads, the loader among them: path in the archive → file.
fn shared_libraries(executable: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let output = Command::new("ldd").arg(executable).output().context("ldd does not run")?;
    // It fails, saying so, for static executables, which load none.
    Ok(parse_ldd(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads ldd's lines: `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn parse_ldd(text: &str) -> BTreeMap<String, PathBuf> {
    let mut libraries = BTreeMap::new();
    for line in text.lines() {
        let target = line.split_once(" => ").map_or(line, |(_, target)| target);
        let path = target.trim().split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            libraries.insert(path.trim_start_matches('/').to_owned(), PathBuf::from(path));
        }
    }
    libraries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<String> = parse_ldd(text).into_keys().collect();
        assert_eq!(found, ["lib/x86_64-linux-gnu/libc.so.6", "lib64/ld-linux-x86-64.so.2"]);
        assert!(parse_ldd("\tstatically linked\n").is_empty());
    }

    #[test]
    fn parents_come_once_and_before_their_children() {
        let mut archive = Archive::default();
        let mut known = Vec::new();
        add_parents(&mut archive, &mut known, "lib/a/one.so");
        add_parents(&mut archive, &mut known, "lib/a/two.so");
        assert_eq!(known, ["lib", "lib/a"]);
    }
}
