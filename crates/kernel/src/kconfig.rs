//! The configuration that the running kernel was built with.
//!
//! For explanations only: whether the kernel can do something is found out by trying
//! ([`crate::features`]); the configuration then tells which option would have given it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// A configuration is some 300 KB; this bounds what a hostile compressed file can unpack to.
const MAX_SIZE: u64 = 16 << 20;

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No file has it.
    #[error(
        "this kernel does not show its configuration: none of {} exists",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotShown {
        /// The files that do not exist.
        tried: Vec<PathBuf>,
    },
    /// A file could not be read or unpacked.
    #[error("cannot read the kernel's configuration from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any configuration.
    #[error("{path}: larger than {MAX_SIZE} bytes: not a kernel's configuration")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line is neither `CONFIG_NAME=value` nor a comment.
    #[error("{path}:{line}: neither `CONFIG_NAME=value` nor a comment")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
}

/// The value of an option that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// Built in.
    Yes,
    /// Built as a module.
    Module,
    /// A number or a string, without quotes.
    Text(String),
}

/// The options that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelConfig {
    options: BTreeMap<String, ConfigValue>,
}

impl KernelConfig {
    /// Reads the running kernel's: from `/proc/config.gz` (CONFIG_IKCONFIG_PROC), else from where
    /// distributions put it.
    pub fn read() -> Result<Self, ConfigError> {
        let mut files = vec![PathBuf::from("/proc/config.gz")];
        let release = Path::new("/proc/sys/kernel/osrelease");
        match std::fs::read_to_string(release) {
            Ok(release) => {
                let release = release.trim();
                files.push(format!("/boot/config-{release}").into());
                files.push(format!("/lib/modules/{release}/config").into());
                files.push(format!("/usr/lib/modules/{release}/config").into());
            }
            Err(source) => return Err(ConfigError::Read { path: release.into(), source }),
        }
        for path in &files {
            match Self::from_file(path) {
                Err(ConfigError::Read { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Err(ConfigError::NotShown { tried: files })
    }

    /// Reads a file, compressed by gzip or not.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let unreadable = |source| ConfigError::Read { path: path.into(), source };
        Self::from_bytes(&std::fs::read(path).map_err(unreadable)?, path)
    }

    /// Reads the bytes of a file, compressed by gzip or not; `path` is for errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ConfigError> {
        let mut text = Vec::new();
        let read = match bytes.starts_with(&[0x1f, 0x8b]) {
            true => MultiGzDecoder::new(bytes).take(MAX_SIZE + 1).read_to_end(&mut text),
            false => bytes.take(MAX_SIZE + 1).read_to_end(&mut text),
        };
        read.map_err(|source| ConfigError::Read { path: path.into(), source })?;
        if text.len() as u64 > MAX_SIZE {
            return Err(ConfigError::TooLarge { path: path.into() });
        }
        let mut options = BTreeMap::new();
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let bad = || ConfigError::Line { path: path.into(), line: index + 1 };
            let line = str::from_utf8(line).map_err(|_| bad())?.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or_else(bad)?;
            if !name.starts_with("CONFIG_") {
                return Err(bad());
            }
            let value = match value {
                "y" => ConfigValue::Yes,
                "m" => ConfigValue::Module,
                // Options in some distributions' files are spelled out although not set.
                "n" => continue,
                text => ConfigValue::Text(text.trim_matches('"').to_owned()),
            };
            options.insert(name.to_owned(), value);
        }
        Ok(Self { options })
    }

    /// The value of an option, by its full name (`CONFIG_BPF_LSM`); `None` when not set.
    pub fn get(&self, option: &str) -> Option<&ConfigValue> {
        self.options.get(option)
    }

    /// Whether an option is built in or a module.
    pub fn is_set(&self, option: &str) -> bool {
        matches!(self.get(option), Some(ConfigValue::Yes | ConfigValue::Module))
    }

    /// Options that are set, in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &ConfigValue)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &[u8]) -> Result<KernelConfig, ConfigError> {
        KernelConfig::from_bytes(text, Path::new("config"))
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    const SMALL: &[u8] = b"# Linux/x86 Kernel Configuration\n\nCONFIG_BPF=y\nCONFIG_VETH=m\n\
        # CONFIG_KPROBES is not set\nCONFIG_LSM=\"landlock,bpf\"\nCONFIG_HZ=250\nCONFIG_NO=n\n";

    #[test]
    fn reads_plain_and_compressed() {
        for bytes in [SMALL.to_vec(), gzip(SMALL)] {
            let config = parse(&bytes).unwrap();
            assert!(config.is_set("CONFIG_BPF") && config.is_set("CONFIG_VETH"));
            assert!(!config.is_set("CONFIG_KPROBES") && config.get("CONFIG_NO").is_none());
            assert_eq!(config.get("CONFIG_VETH"), Some(&ConfigValue::Module));
            let lsm = ConfigValue::Text("landlock,bpf".into());
            assert_eq!(config.get("CONFIG_LSM"), Some(&lsm));
            assert_eq!(config.get("CONFIG_HZ"), Some(&ConfigValue::Text("250".into())));
            assert_eq!(config.iter().len(), 4);
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let error = parse(b"CONFIG_A=y\nnonsense\n").unwrap_err().to_string();
        assert_eq!(error, "config:2: neither `CONFIG_NAME=value` nor a comment");
        assert!(matches!(parse(b"A=y"), Err(ConfigError::Line { line: 1, .. })));
        assert!(matches!(parse(b"\n\n\xff\xfe=y"), Err(ConfigError::Line { line: 3, .. })));
        let cut = gzip(SMALL);
        assert!(matches!(parse(&cut[..cut.len() - 9]), Err(ConfigError::Read { .. })));
        let bomb = gzip(&vec![b'#'; MAX_SIZE as usize + 1]);
        assert!(matches!(parse(&bomb), Err(ConfigError::TooLarge { .. })));
    }

    #[test]
    fn reads_the_running_kernel() {
        match KernelConfig::read() {
            Ok(config) => assert!(config.is_set("CONFIG_PROC_FS")),
            Err(error) => eprintln!("skipped: {error}"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..128),
            compressed in any::<bool>(),
        ) {
            if compressed {
                bytes.splice(0..0, [0x1f, 0x8b, 8]);
            }
            let _ = parse(&bytes);
        }

        #[test]
        fn damaged_gzip_is_refused_or_read(at in 0_usize..64, byte in any::<u8>()) {
            let mut bytes = gzip(SMALL);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
