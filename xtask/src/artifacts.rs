//! The binaries that tests and trial runs use, built by cargo and gathered in one directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::debian;

/// Root of the repository: tasks work from there, whatever directory they are called in.
pub(crate) fn repository() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("xtask lies in no repository")?.to_owned())
}

/// An executable and the name it has when installed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The package's `Cargo.toml`.
    manifest: PathBuf,
    /// Whether it runs tests.
    is_test: bool,
}

/// Crates whose integration tests ask the kernel, and so are run on every one.
const KERNEL_FACING: &[&str] = &["kernel", "compiler"];
/// What the names of their executables start with in the stage.
pub(crate) const CRATE_TEST: &str = "crate-test-";

/// How executables are built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// As users get them.
    Release,
    /// Nearly so, in half the time.
    Stage,
}

/// Builds packages and returns their executables.
pub(crate) fn build(root: &Path, profile: Profile, packages: &[&str]) -> Result<Vec<Binary>> {
    let profile = match profile {
        Profile::Release => "--profile=release",
        Profile::Stage => "--profile=stage",
    };
    cargo(root, &["build", profile, "--bins"], packages)
}

/// Builds the integration tests of [`KERNEL_FACING`]. As all of the workspace is asked for, with the
/// features that it has together, `cargo test --workspace` has built them already.
fn crate_tests(root: &Path) -> Result<Vec<Binary>> {
    let built = cargo(root, &["test", "--workspace", "--no-run", "--test", "*"], &[])?;
    let mut tests = Vec::new();
    for package in KERNEL_FACING {
        let manifest = root.join("crates").join(package).join("Cargo.toml");
        let of_package =
            built.iter().filter(|binary| binary.is_test && binary.manifest == manifest);
        tests.extend(
            of_package
                .map(|test| Binary { name: format!("{CRATE_TEST}{}", test.name), ..test.clone() }),
        );
    }
    Ok(tests)
}

/// Runs a build and returns the executables that it tells of.
fn cargo(root: &Path, arguments: &[&str], packages: &[&str]) -> Result<Vec<Binary>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stdout(Stdio::piped());
    // What cargo says about this package is not about those built here: `ring` would be built anew, with
    // all that use it, each time that a build inside of this task follows one outside.
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("CARGO_PKG_") || shown.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    for package in packages {
        command.args(["-p", package]);
    }
    let mut child = command.spawn().context("cargo does not run")?;
    let output = child.stdout.take().context("cargo's output is not there")?;
    let mut binaries = Vec::new();
    for line in BufReader::new(output).lines() {
        binaries.extend(executable(&line?)?);
    }
    ensure!(child.wait()?.success(), "the build failed");
    Ok(binaries)
}

/// The executable that a line of cargo's messages tells of, if it is such a line.
fn executable(message: &str) -> Result<Option<Binary>> {
    let message: serde_json::Value = serde_json::from_str(message)?;
    let (Some(name), Some(path)) =
        (message["target"]["name"].as_str(), message["executable"].as_str())
    else {
        return Ok(None);
    };
    let manifest = message["manifest_path"].as_str().unwrap_or_default();
    let is_test = message["profile"]["test"].as_bool().unwrap_or(false);
    Ok(Some(Binary {
        name: name.to_owned(),
        path: path.into(),
        manifest: manifest.into(),
        is_test,
    }))
}

/// What the system tests need, in one directory, where the test binary looks for the others beside
/// itself: the agent, the command line, the tests, those of crates that ask the kernel, and busybox
/// for a shell; the tests of crates only if asked for, as they are as much to build as everything else.
/// Debug information is left out, which makes VMs boot faster. Returns the directory.
pub(crate) fn stage(root: &Path, profile: Profile, with_crate_tests: bool) -> Result<PathBuf> {
    let mut binaries = build(root, profile, &["agent", "tetra", "vmtest"])?;
    let (name, path) = ("busybox".to_owned(), busybox(root)?);
    binaries.push(Binary { name, path, ..Binary::default() });
    // What benchmarks run.
    binaries.push(Binary { name: "dd".to_owned(), path: "/bin/dd".into(), ..Binary::default() });
    for name in ["tetragon", "tetra", "vmtest"] {
        ensure!(binaries.iter().any(|binary| binary.name == name), "the build gave no {name}");
    }
    if with_crate_tests {
        binaries.extend(crate_tests(root)?);
    }
    let stage = root.join("build/stage/bin");
    fs::create_dir_all(&stage)?;
    for binary in &binaries {
        let name = binary.name.as_str();
        let staged = stage.join(name);
        // A new file: the old one may be running.
        let fresh = stage.join(format!(".{name}-{}", std::process::id()));
        fs::copy(&binary.path, &fresh)
            .with_context(|| format!("copying {}", binary.path.display()))?;
        if !["busybox", "dd"].contains(&name) {
            let status = Command::new("strip").arg("--strip-debug").arg(&fresh).status();
            ensure!(status.context("strip does not run (package binutils)")?.success(), "strip");
        }
        // An equal one stays: it may be running, and would then no longer find itself.
        if fs::read(&staged).is_ok_and(|old| fs::read(&fresh).is_ok_and(|new| new == old)) {
            fs::remove_file(&fresh)?;
        } else {
            fs::rename(&fresh, &staged)?;
        }
    }
    stage_policies(root, &stage)?;
    Ok(stage)
}

/// Puts policies that are not the project's own beside the tests, where they are at hand.
fn stage_policies(root: &Path, stage: &Path) -> Result<()> {
    for kind in ["intro", "field"] {
        let directory = root.join("../shared/policies").join(kind);
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fs::copy(&path, stage.join(format!("{kind}-{name}")))?;
        }
    }
    Ok(())
}

/// A busybox that needs no shared libraries.
fn busybox(root: &Path) -> Result<PathBuf> {
    const PACKAGE: &str = "busybox-static";
    let path = root.join("build/packages").join(PACKAGE);
    if !path.exists() {
        fs::create_dir_all(root.join("build/packages"))?;
        if debian::available(&format!("^{PACKAGE}$"))?.is_empty() {
            debian::update()?;
        }
        // Debian 13 moved /bin to /usr/bin.
        if debian::fetch(PACKAGE, "bin/busybox", &path).is_err() {
            debian::fetch(PACKAGE, "usr/bin/busybox", &path)?;
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_taken_from_cargo_messages() {
        let artifact =
            r#"{"reason":"compiler-artifact","target":{"name":"tetra"},"executable":"/t/tetra"}"#;
        let binary = executable(artifact).unwrap().unwrap();
        assert_eq!((binary.name.as_str(), binary.path), ("tetra", PathBuf::from("/t/tetra")));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"api"},"executable":null}"#;
        assert!(executable(library).unwrap().is_none());
        assert!(executable("not json").is_err());
    }
}
