//! Digests of a file.

use std::io::Read as _;

use ring::digest::{Algorithm, Context};

use crate::{Error, ProgramFile};

/// How a digest is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        }
    }
}

impl ProgramFile {
    /// The digest of the whole file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn digest(&self, hash: Hash) -> Result<Vec<u8>, Error> {
        let mut context = Context::new(hash.algorithm());
        let mut reader = self.reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = reader.read(&mut buffer).map_err(|error| self.failed(error))?;
            if count == 0 {
                return Ok(context.finish().as_ref().to_vec());
            }
            context.update(&buffer[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_that_are_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let file = ProgramFile::open(file.path()).unwrap();
        let hex = |hash| -> String {
            file.digest(hash).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        // FIPS 180-2, appendices.
        assert_eq!(hex(Hash::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(Hash::Sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hex(Hash::Sha384).starts_with("cb00753f45a35e8bb5a03d699ac65007"));
        assert!(hex(Hash::Sha512).starts_with("ddaf35a193617abacc417349ae204131"));
    }
}
