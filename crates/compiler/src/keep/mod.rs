//! What outlives the agent: links and maps that are pinned in a BPF file system.
//!
//! Programs stay attached as long as anything holds their links; a pin does, however the process ends that
//! made it. Links hold their programs and those hold their maps. Only arrays of programs need pins of
//! their own: the kernel empties them when their last descriptor and pin goes
//! (`bpf_map_put_uref()`, `prog_array_map_clear()`), since they could hold themselves.
//!
//! A pin goes with what it is of, unless the agent leaves ([`Keep::leave`]). Nothing is read back by
//! another agent: it puts its own programs beside those that were left, for which it need not know what
//! made them, and then removes these ([`Earlier::remove`]). At no time is there neither.

mod earlier;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::link::{self, Link};
use kernel::map::Map;
use kernel::pin::{self, PinDir};
use policy::PolicyKey;

use crate::Error;

pub use earlier::Earlier;

/// Pins of links, in an agent's directory.
const LINKS: &str = "links";
/// Pins of maps.
const MAPS: &str = "maps";
/// Empty directories named after the policies in force, for who looks.
const POLICIES: &str = "policies";

/// The file system takes no longer names.
const NAME_MAX: usize = 255;

/// How long a link may take to go whose last pin was removed: the kernel lets go of it after a grace
/// period (`bpf_free_inode()`), a few milliseconds to some tens.
const GOES_WITHIN: Duration = Duration::from_secs(2);

/// A directory of pins, of one agent. When the last of its clones and pins is dropped it is removed,
/// unless the agent leaves.
#[derive(Clone)]
pub struct Keep(Arc<Inner>);

struct Inner {
    root: PinDir,
    links: PinDir,
    maps: PinDir,
    policies: PinDir,
    /// How many pins were made: part of their names.
    made: AtomicU64,
    leaves: AtomicBool,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keep({})", self.0.root.path().display())
    }
}

impl Keep {
    /// Makes the directory `name` in `dir`, which is in a BPF file system, or is one below
    /// `/sys/fs/bpf`, where one is then mounted. No other agent uses that name.
    ///
    /// # Errors
    /// There is no BPF file system, or no permission.
    pub fn open(dir: &Path, name: &str) -> Result<Self, Error> {
        let root = PinDir::open(dir.join(escaped(name)))?;
        Ok(Self(Arc::new(Inner {
            links: PinDir::open(root.join(LINKS))?,
            maps: PinDir::open(root.join(MAPS))?,
            policies: PinDir::open(root.join(POLICIES))?,
            root,
            made: AtomicU64::new(0),
            leaves: AtomicBool::new(false),
        })))
    }

    /// From now on nothing is unpinned: what is dropped stays in force, without an agent.
    pub fn leave(&self) {
        self.0.leaves.store(true, Ordering::Release);
    }

    fn leaves(&self) -> bool {
        self.0.leaves.load(Ordering::Acquire)
    }

    fn path(&self, dir: &PinDir, name: &str) -> PathBuf {
        let number = self.0.made.fetch_add(1, Ordering::Relaxed);
        let readable = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = name.chars().take(64).map(readable).collect();
        dir.join(&format!("{number}-{name}"))
    }

    /// Pins a link.
    pub(crate) fn link(&self, link: &Link, name: &str) -> Result<Pin, Error> {
        let path = self.path(&self.0.links, name);
        link.pin(&path)?;
        Ok(Pin { path, keep: self.clone() })
    }

    /// Pins a map.
    pub(crate) fn map(&self, map: &Map, name: &str) -> Result<Pin, Error> {
        let path = self.path(&self.0.maps, name);
        map.pin(&path)?;
        Ok(Pin { path, keep: self.clone() })
    }

    /// Notes that a policy is in force, or is no more, for who lists what was left.
    pub(crate) fn note(&self, key: &PolicyKey, in_force: bool) {
        let path = self.0.policies.join(&named(key));
        // It is only told: what is in force is what is pinned.
        let _ = match in_force {
            true => std::fs::create_dir(path),
            false => std::fs::remove_dir(path),
        };
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.leaves.load(Ordering::Acquire) {
            // What cannot be removed now is removed by the next agent.
            let _ = self.root.clone().remove();
        }
    }
}

/// One pin. Dropped, it is removed, unless the agent leaves.
#[derive(Debug)]
pub(crate) struct Pin {
    path: PathBuf,
    keep: Keep,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if !self.keep.leaves() {
            // What cannot be removed now is removed by the next agent.
            let _ = pin::unpin(&self.path);
        }
    }
}

/// A link that stays when the agent ends, if it is to.
#[derive(Debug)]
pub(crate) struct KeptLink {
    link: Link,
    pin: Option<Pin>,
}

impl KeptLink {
    /// Pins the link, if there is where to.
    pub(crate) fn new(link: Link, name: &str, keep: Option<&Keep>) -> Result<Self, Error> {
        let pin = keep.map(|keep| keep.link(&link, name)).transpose()?;
        Ok(Self { link, pin })
    }

    /// Detaches it, unless the agent leaves. When it returns the program is not called any more, or the
    /// kernel has not managed within two seconds.
    pub(crate) fn detach(self) {
        let Self { link, pin } = self;
        // Without a pin the link goes when it is dropped, at once.
        let Some(pin) = pin.filter(|pin| !pin.keep.leaves()) else { return };
        let id = link.info().map(|info| info.id);
        drop(pin);
        drop(link);
        if let Ok(id) = id {
            gone(&[id]);
        }
    }
}

/// Waits until none of these links is there any more.
fn gone(ids: &[u32]) {
    let until = Instant::now() + GOES_WITHIN;
    while ids.iter().any(|id| link::exists(*id)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A policy's key as the name of a directory.
fn named(key: &PolicyKey) -> String {
    let PolicyKey { domain, namespace, name } = key;
    escaped(&format!("{domain}:{namespace}:{name}"))
}

/// A text as a name in a BPF file system, which takes no dots.
fn escaped(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':' => name.push(byte.into()),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name.truncate(NAME_MAX);
    name
}

/// What [`escaped`] made a name of.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.first_chunk::<2>()).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_dots_and_read_back() {
        for text in ["grpc::no-secrets.v1.2", "static:a b:x/y%", "", "%zz", "é"] {
            let name = escaped(text);
            assert!(!name.contains(['.', '/']), "{name}");
            assert_eq!(unescaped(&name), text);
        }
        assert_eq!(escaped(&".".repeat(200)).len(), NAME_MAX);
    }
}
