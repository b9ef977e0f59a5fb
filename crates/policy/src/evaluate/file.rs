//! Types of files: FileType and NotFileType. A file needs no path to have a type.

use super::value::Value;
use crate::checked::FileType;

impl FileType {
    /// The type that a file's mode (`st_mode`, `i_mode`) says, by `S_IFMT`.
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o140_000 => Self::Socket,
            0o120_000 => Self::Link,
            0o100_000 => Self::Regular,
            0o060_000 => Self::Block,
            0o040_000 => Self::Directory,
            0o020_000 => Self::Character,
            0o010_000 => Self::Fifo,
            _ => return None,
        })
    }
}

/// Whether a file is of one of the types.
pub(super) fn compare(types: &[FileType], value: &Value) -> Option<bool> {
    match value {
        Value::Path { file_type: Some(file_type), .. } => Some(types.contains(file_type)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::FileType;

    #[test]
    fn modes_are_those_of_stat() {
        for (mode, file_type) in [
            (0o100_644, Some(FileType::Regular)),
            (0o040_755, Some(FileType::Directory)),
            (0o120_777, Some(FileType::Link)),
            (0o140_755, Some(FileType::Socket)),
            (0o060_660, Some(FileType::Block)),
            (0o020_666, Some(FileType::Character)),
            (0o010_600, Some(FileType::Fifo)),
            (0o000_644, None),
        ] {
            assert_eq!(FileType::of_mode(mode), file_type, "{mode:o}");
        }
    }
}
