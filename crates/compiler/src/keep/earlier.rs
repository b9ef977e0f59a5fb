//! What agents before this one left in force.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kernel::link::Link;
use kernel::pin::{self, PinDir};

use super::{LINKS, POLICIES, gone, unescaped};
use crate::Error;

/// A directory that an agent left, or that a living one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    path: PathBuf,
}

impl Earlier {
    /// All in a directory, by name; none if the directory is not there.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(dir: &Path) -> Result<Vec<Self>, Error> {
        let mut all: Vec<_> = names(dir)?.into_iter().map(|path| Self { path }).collect();
        all.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(all)
    }

    /// What it is called: how its agent named itself.
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| unescaped(&name.to_string_lossy())).unwrap_or_default()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The policies that it had in force, each as `domain:namespace:name`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn policies(&self) -> Result<Vec<String>, Error> {
        let paths = names(&self.path.join(POLICIES))?.into_iter();
        let name = |path: PathBuf| {
            path.file_name().map(|name| unescaped(&name.to_string_lossy())).unwrap_or_default()
        };
        let mut names: Vec<_> = paths.map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Names of the links that are pinned in it.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn links(&self) -> Result<Vec<PathBuf>, Error> {
        names(&self.path.join(LINKS))
    }

    /// Ends what was left: links first. Programs without their arrays would call the wrong ones.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        let mut ids = Vec::new();
        for path in self.links()? {
            // Of what cannot be opened it is not known when it has gone.
            if let Ok(Some(link)) = Link::open_pinned(&path) {
                ids.extend(link.info().map(|info| info.id));
            }
            pin::unpin(&path)?;
        }
        gone(&ids);
        PinDir::open(self.path)?.remove()?;
        Ok(())
    }
}

fn names(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| kernel::Error::File { action: "read", path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error).into()),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    Ok(paths.collect::<Result<_, _>>().map_err(failed)?)
}
