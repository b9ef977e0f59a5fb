//! What a test works with.
use anyhow::Result;
use std::path::PathBuf;
pub(crate) struct Lab {
    directory: PathBuf,
}
impl Lab {
    pub(crate) fn new(directory: PathBuf) -> Result<Self> {
        Ok(Self { directory })
    }
}
