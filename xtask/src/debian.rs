//! Files out of Debian packages, fetched with apt and unpacked without being installed.
//!
//! Each package is fetched once: what is wanted of it is copied into `build/` under a name that
//! holds the package's, and found there again, also without a network.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Names of available packages that match an extended regular expression, oldest version first.
pub(crate) fn available(pattern: &str) -> Result<Vec<String>> {
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", pattern])
        .output()
        .context("apt-cache does not run; packages are fetched with apt, on Debian or Ubuntu")?;
    let mut names: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort_by(|a, b| by_version(a, b));
    Ok(names)
}

/// Reads the package lists anew.
pub(crate) fn update() -> Result<()> {
    let status = Command::new("apt-get").args(["-q", "update"]).stdout(std::io::stderr()).status();
    ensure!(status.context("apt-get does not run")?.success(), "apt-get update failed");
    Ok(())
}

/// Fetches `package` and copies its file `member` (path without leading slash) to `to`.
pub(crate) fn fetch(package: &str, member: &str, to: &Path) -> Result<()> {
    let parent = to.parent().context("a target without a directory")?;
    let scratch = parent.join(format!(".fetch-{package}-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let result = fetch_into(package, member, to, &scratch);
    fs::remove_dir_all(&scratch)?;
    result.with_context(|| format!("fetching package {package}"))
}

fn fetch_into(package: &str, member: &str, to: &Path, scratch: &Path) -> Result<()> {
    eprintln!("fetching {package}");
    let output = Command::new("apt-get")
        .args(["-q", "download", package])
        .current_dir(scratch)
        .output()
        .context("apt-get does not run")?;
    let Some(archive) = first_deb(scratch)? else {
        bail!("apt-get download: {}", String::from_utf8_lossy(&output.stderr).trim());
    };
    let status = Command::new("dpkg-deb").arg("-x").arg(&archive).arg(scratch).status()?;
    ensure!(status.success(), "dpkg-deb -x {} failed", archive.display());
    // Renamed into place, so that a file in the cache is always a whole one.
    let whole = scratch.join("whole");
    fs::copy(scratch.join(member), &whole).with_context(|| format!("no {member} inside"))?;
    fs::rename(&whole, to)?;
    Ok(())
}

fn first_deb(directory: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Orders names by the numbers in them, as versions are: 6.12.9 before 6.12.10.
pub(crate) fn by_version(a: &str, b: &str) -> Ordering {
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let mut names = [
            "linux-image-6.12.101+deb12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
        ];
        names.sort_by(|a, b| by_version(a, b));
        assert_eq!(names[0], "linux-image-6.12.9+deb12-cloud-amd64");
        assert_eq!(names[2], "linux-image-6.12.117+deb12-cloud-amd64");
    }
}
