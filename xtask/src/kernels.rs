//! The kernels that tests run on: by name, by path, and this machine's own.
//!
//! Debian's cloud images have a serial console and everything that the tests need built in. The one
//! with error injection is not Debian's; it is used when it lies beside the repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::debian;

/// Where to run the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// On this machine, without a VM.
    Host,
    /// In a VM.
    Image {
        /// What to call it in output and in file names.
        name: String,
        /// The bzImage.
        path: PathBuf,
    },
}

/// A series of Debian's cloud kernels.
struct Series {
    name: &'static str,
    /// Which packages belong to it, as an extended regular expression.
    packages: &'static str,
}

const SERIES: [Series; 2] = [
    Series { name: "6.1", packages: r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$" },
    Series { name: "6.12", packages: r"^linux-image-6\.12\.[0-9]+\+[a-z0-9]+-cloud-amd64$" },
];

const ERROR_INJECTION: &str = "6.12-ei";
const ERROR_INJECTION_IMAGE: &str = "../shared/kernels/vmlinuz-6.12-error-injection";

/// The kernels to use when none is named: all, of which the one with error injection may be absent.
pub(crate) fn default_names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = SERIES.iter().map(|series| series.name.to_owned()).collect();
    if root.join(ERROR_INJECTION_IMAGE).exists() {
        // Before the one that it covers: what takes longest is started first.
        let before = names.iter().position(|name| covered_by(name).is_some());
        names.insert(before.unwrap_or(names.len()), ERROR_INJECTION.to_owned());
    } else {
        eprintln!("not tested: {ERROR_INJECTION}, there is no {ERROR_INJECTION_IMAGE}");
    }
    names.push("host".to_owned());
    names
}

/// A kernel of the same series that can do all that this one can, and more.
pub(crate) fn covered_by(name: &str) -> Option<&'static str> {
    (name == "6.12").then_some(ERROR_INJECTION)
}

/// Finds or fetches the kernel that `name` stands for.
///
/// * `root` - the repository
/// * `name` - one of the names above, or the path of a bzImage
pub(crate) fn find(root: &Path, name: &str) -> Result<Kernel> {
    if name == "host" {
        return Ok(Kernel::Host);
    }
    if name == ERROR_INJECTION {
        let path = root.join(ERROR_INJECTION_IMAGE);
        ensure!(path.exists(), "kernel {name}: there is no {}", path.display());
        return Ok(Kernel::Image { name: name.to_owned(), path });
    }
    if let Some(series) = SERIES.iter().find(|series| series.name == name) {
        let path = cloud_image(&root.join("build/kernels"), series)
            .with_context(|| format!("kernel {name}"))?;
        return Ok(Kernel::Image { name: name.to_owned(), path });
    }
    let path = PathBuf::from(name);
    if !path.is_file() {
        let known: Vec<&str> = SERIES.iter().map(|series| series.name).collect();
        bail!(
            "kernel {name}: not a file, nor one of {}, {ERROR_INJECTION}, host",
            known.join(", ")
        );
    }
    let name = path.file_name().map_or(name.into(), |name| name.to_string_lossy()).into_owned();
    Ok(Kernel::Image { name, path })
}

/// The newest kernel of a series: what apt offers, else what was fetched before.
fn cloud_image(cache: &Path, series: &Series) -> Result<PathBuf> {
    fs::create_dir_all(cache)?;
    let mut newest = debian::available(series.packages)?.pop();
    let fetched = newest_fetched(cache, series)?;
    if newest.is_none() && fetched.is_none() {
        debian::update()?;
        newest = debian::available(series.packages)?.pop();
    }
    match (newest, fetched) {
        (Some(package), fetched) => {
            let image = package.replacen("linux-image-", "vmlinuz-", 1);
            let path = cache.join(&image);
            if path.exists() {
                return Ok(path);
            }
            match (debian::fetch(&package, &format!("boot/{image}"), &path), fetched) {
                (Ok(()), _) => Ok(path),
                (Err(error), Some(older)) => {
                    eprintln!("warning: {error:#}; using {}", older.display());
                    Ok(older)
                }
                (Err(error), None) => Err(error),
            }
        }
        (None, Some(path)) => Ok(path),
        (None, None) => bail!(
            "apt offers no package {}; it is in Debian 12 (main, security), elsewhere give the path \
             of a kernel image with BTF and a serial console built in",
            series.packages
        ),
    }
}

fn newest_fetched(cache: &Path, series: &Series) -> Result<Option<PathBuf>> {
    let prefix = format!("vmlinuz-{}.", series.name);
    let mut names = Vec::new();
    for entry in fs::read_dir(cache)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.starts_with(&prefix));
    names.sort_by(|a, b| debian::by_version(a, b));
    Ok(names.pop().map(|name| cache.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = find(Path::new("/"), "6.99").unwrap_err().to_string();
        assert!(error.contains("6.12-ei") && error.contains("6.1,"), "{error}");
    }

    #[test]
    fn a_path_is_named_for_its_file() {
        let path = std::env::current_exe().unwrap();
        let kernel = find(Path::new("/"), path.to_str().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(kernel, Kernel::Image { name, path });
    }

    #[test]
    fn the_newest_fetched_image_of_a_series_is_found() {
        let cache = std::env::temp_dir().join(format!("xtask-kernels-{}", std::process::id()));
        fs::create_dir_all(&cache).unwrap();
        for name in ["vmlinuz-6.1.0-9-x", "vmlinuz-6.1.0-10-x", "vmlinuz-6.12.3-x"] {
            fs::write(cache.join(name), "").unwrap();
        }
        let found = newest_fetched(&cache, &SERIES[0]).unwrap();
        fs::remove_dir_all(&cache).unwrap();
        assert_eq!(found, Some(cache.join("vmlinuz-6.1.0-10-x")));
    }
}
