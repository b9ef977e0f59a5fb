//! What can go wrong when BTF is read or asked.

use std::path::PathBuf;

use super::{Kind, TypeId};

/// Why BTF could not be read, or a question to it could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// A file that should hold BTF could not be read.
    #[error("cannot read BTF from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds no usable BTF.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<BtfError>,
    },
    /// The kernel offers no BTF and no file was given.
    #[error(
        "this kernel offers no BTF (tried {}): it needs CONFIG_DEBUG_INFO_BTF=y (Linux 5.4 or \
         later), or a BTF file made for exactly this kernel build must be named",
        list_paths(tried)
    )]
    NoKernelBtf {
        /// The files that do not exist.
        tried: Vec<PathBuf>,
    },
    /// The data is not BTF at all.
    #[error("not BTF: starts with {magic:#06x}, not 0xeb9f")]
    NotBtf {
        /// The first two bytes, in host order.
        magic: u16,
    },
    /// The data is BTF of a machine with the other byte order.
    #[error("BTF of a machine with the other byte order: it cannot describe this kernel")]
    ForeignEndian,
    /// A version of the format that is not known.
    #[error("BTF version {0} is not known, only version 1")]
    Version(u8),
    /// The data breaks the rules of the format.
    #[error("malformed BTF: {what}, at byte {at} of the {section}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Which part of the data: `header`, `type section`, `string section`.
        section: &'static str,
        /// Where in that part, in bytes.
        at: usize,
    },
    /// A type id that this BTF does not have.
    #[error("type id {0} is not in this BTF")]
    UnknownType(TypeId),
    /// No type of that kind and name.
    #[error("this kernel has no {kind} `{name}`")]
    NotFound {
        /// The kind asked for.
        kind: Kind,
        /// The name asked for.
        name: String,
    },
    /// No tracepoint of that name.
    #[error("this kernel has no tracepoint `{0}` that programs with typed arguments can attach to")]
    NoTracepoint(String),
    /// A path of members that cannot be parsed.
    #[error("`{path}` is not a path of members: {what}, at byte {at}")]
    BadPath {
        /// The path.
        path: String,
        /// What is wrong.
        what: &'static str,
        /// Where in the path, in bytes.
        at: usize,
    },
    /// A struct or union without the member asked for.
    #[error("`{container}` has no member `{member}`{}", suggest(similar))]
    NoMember {
        /// The struct or union, as C writes it.
        container: String,
        /// The member asked for.
        member: String,
        /// Members with nearly that name, best first.
        similar: Vec<String>,
    },
    /// A member was asked of something that has none.
    #[error("`{at}` in `{path}` is `{ty}`, which has no members{}", pointer_hint(*pointer))]
    NotComposite {
        /// The path.
        path: String,
        /// The part of the path whose members were asked for.
        at: String,
        /// Its type, as C writes it.
        ty: String,
        /// It is a pointer: only a path that follows pointers can cross it.
        pointer: bool,
    },
    /// An index was used on something that is no array (nor pointer, where those are followed).
    #[error("`{at}` in `{path}` is `{ty}`, which cannot be indexed")]
    NotArray {
        /// The path.
        path: String,
        /// The part of the path that was indexed.
        at: String,
        /// Its type, as C writes it.
        ty: String,
    },
    /// An index behind the end of an array.
    #[error("index {index} in `{path}` is out of bounds: `{ty}`")]
    OutOfBounds {
        /// The path.
        path: String,
        /// The index.
        index: u32,
        /// The array's type, as C writes it.
        ty: String,
    },
    /// A type that has no size: void, a function, a forward declaration, or one too large.
    #[error("`{0}` has no size")]
    NoSize(String),
    /// A type that should be a function or a function's prototype.
    #[error("`{0}` is not a function")]
    NotFunction(String),
    /// Types that contain themselves, or are nested beyond what any kernel has.
    #[error("`{0}` is nested too deeply")]
    TooDeep(String),
}

fn list_paths(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

fn suggest(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => format!("; nearest: `{}`", names.join("`, `")),
    }
}

fn pointer_hint(pointer: bool) -> &'static str {
    if pointer { " in the same object: it is a pointer" } else { "" }
}
