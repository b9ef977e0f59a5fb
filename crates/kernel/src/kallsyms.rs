//! The kernel's symbols, from `/proc/kallsyms`.
//!
//! Read line by line into one text of all names and 24 bytes per symbol (about 5 MB for a usual
//! kernel); the orders by name and by address are made when first needed. The kernel shows all
//! addresses as 0 to readers it does not trust (`kernel.kptr_restrict`, no CAP_SYSLOG): names can be
//! looked up then, addresses cannot.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the running kernel shows its symbols.
pub const KALLSYMS: &str = "/proc/kallsyms";

/// How far behind the last symbol before a gap (the end of the kernel or of a module) an address still
/// counts as that symbol's. kallsyms has no sizes; few functions are larger.
const LAST_SYMBOL_MAX: u64 = 1 << 20;

/// Why symbols could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KallsymsError {
    /// The file could not be read.
    #[error("cannot read kernel symbols from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not `address type name [module]`.
    #[error("{path}:{line}: not a kernel symbol: {what}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Name.
    pub name: &'a str,
    /// Address; 0 where the kernel hides it.
    pub address: u64,
    /// Type as `nm` has it: `T` and `t` for functions, upper case where global.
    pub kind: char,
    /// Module it belongs to; `None` for the kernel itself.
    pub module: Option<&'a str>,
}

impl Symbol<'_> {
    /// Whether it is a function.
    pub fn is_function(&self) -> bool {
        matches!(self.kind, 'T' | 't' | 'W' | 'w')
    }
}

#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    name: u32,
    name_len: u16,
    kind: u8,
    /// Index in `modules` plus 1; 0 for the kernel.
    module: u16,
}

/// The kernel's symbols.
pub struct Kallsyms {
    names: Box<str>,
    modules: Vec<Box<str>>,
    entries: Box<[Entry]>,
    by_name: OnceLock<Box<[u32]>>,
    by_address: OnceLock<Box<[u32]>>,
}

impl std::fmt::Debug for Kallsyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kallsyms").field("symbols", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Kallsyms {
    /// Reads the running kernel's symbols.
    pub fn read() -> Result<Self, KallsymsError> {
        Self::from_file(KALLSYMS)
    }

    /// Reads symbols from a file in the form of `/proc/kallsyms`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KallsymsError> {
        let path = path.as_ref();
        let unreadable = |source| KallsymsError::Read { path: path.into(), source };
        Self::parse(BufReader::new(File::open(path).map_err(unreadable)?), path)
    }

    /// Reads symbols; `path` is for errors.
    pub fn parse(mut input: impl BufRead, path: &Path) -> Result<Self, KallsymsError> {
        let mut names = String::new();
        let mut modules: Vec<Box<str>> = Vec::new();
        let mut module_ids: HashMap<Box<str>, u16> = HashMap::new();
        let mut entries = Vec::new();
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let length = input.read_line(&mut line);
            match length {
                Ok(0) => break,
                Ok(_) => {}
                Err(source) => return Err(KallsymsError::Read { path: path.into(), source }),
            }
            let bad = |what| KallsymsError::Line { path: path.into(), line: number, what };
            let mut words = line.split_ascii_whitespace();
            let address = words.next().ok_or(bad("empty line"))?;
            let address = match address.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                true => u64::from_str_radix(address, 16).ok(),
                false => None,
            };
            let address = address.ok_or(bad("address is not a hexadecimal number of 64 bits"))?;
            let kind = match words.next().map(str::as_bytes) {
                Some(&[kind]) => kind,
                _ => return Err(bad("type is not one character")),
            };
            let name = words.next().ok_or(bad("no name"))?;
            let name_len = name.len().try_into().map_err(|_| bad("name too long"))?;
            let module = match words.next() {
                None => 0,
                Some(module) => {
                    let module = module.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                    let module = module.ok_or(bad("module is not in brackets"))?;
                    match module_ids.get(module) {
                        Some(&id) => id,
                        None => {
                            modules.push(module.into());
                            let id = modules.len().try_into();
                            let id = id.map_err(|_| bad("more than 65535 modules"))?;
                            module_ids.insert(module.into(), id);
                            id
                        }
                    }
                }
            };
            let offset = names.len().try_into().map_err(|_| bad("more than 4 GiB of names"))?;
            entries.push(Entry { address, name: offset, name_len, kind, module });
            names.push_str(name);
        }
        Ok(Self {
            names: names.into(),
            modules,
            entries: entries.into(),
            by_name: OnceLock::new(),
            by_address: OnceLock::new(),
        })
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All symbols, in the kernel's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Symbol<'_>> {
        self.entries.iter().map(|entry| self.symbol(entry))
    }

    /// Whether the kernel hides addresses from this reader.
    pub fn addresses_hidden(&self) -> bool {
        self.entries.iter().all(|entry| entry.address == 0)
    }

    /// All symbols of a name, in the kernel's order: static functions of different files can share one.
    pub fn by_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Symbol<'a>> {
        let order = self.by_name.get_or_init(|| {
            let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
            order.sort_by_key(|&index| self.name(&self.entries[index as usize]));
            order.into()
        });
        let first = order.partition_point(|&at| self.name(&self.entries[at as usize]) < name);
        let symbols = order[first..].iter().map(|&at| self.symbol(&self.entries[at as usize]));
        symbols.take_while(move |symbol| symbol.name == name)
    }

    /// The symbol that an address lies in, and how many bytes behind its start. Of several at one
    /// address, the first in the kernel's order. `None` for addresses before the first symbol, far
    /// behind the last of the kernel or of a module, and when addresses are hidden.
    pub fn resolve(&self, address: u64) -> Option<(Symbol<'_>, u64)> {
        let order = self.by_address.get_or_init(|| {
            // A 64-bit kernel lies in the upper half. Below are hidden addresses, which are 0, and the
            // offsets that per-CPU symbols of x86 have for addresses.
            let shown = |&index: &u32| self.entries[index as usize].address >> 63 != 0;
            let mut order: Vec<u32> = (0..self.entries.len() as u32).filter(shown).collect();
            order.sort_by_key(|&index| self.entries[index as usize].address);
            order.into()
        });
        let entry = |position: usize| order.get(position).map(|&at| &self.entries[at as usize]);
        let behind = order.partition_point(|&at| self.entries[at as usize].address <= address);
        let start = entry(behind.checked_sub(1)?)?.address;
        let first = order.partition_point(|&at| self.entries[at as usize].address < start);
        let found = entry(first)?;
        let same_module = entry(behind).is_some_and(|next| next.module == found.module);
        let offset = address - start;
        (same_module || offset < LAST_SYMBOL_MAX).then(|| (self.symbol(found), offset))
    }

    fn name(&self, entry: &Entry) -> &str {
        let start = entry.name as usize;
        self.names.get(start..start + usize::from(entry.name_len)).unwrap_or_default()
    }

    fn symbol(&self, entry: &Entry) -> Symbol<'_> {
        let module = usize::from(entry.module).checked_sub(1);
        Symbol {
            name: self.name(entry),
            address: entry.address,
            kind: char::from(entry.kind),
            module: module.and_then(|index| self.modules.get(index)).map(AsRef::as_ref),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Kallsyms, KallsymsError> {
        Kallsyms::parse(text.as_bytes(), Path::new("symbols"))
    }

    const SMALL: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t helper
ffffffff81000200 T do_exit
ffffffff81000300 t helper
ffffffff81000400 D jiffies
ffffffffc0000000 t init_module\t[loop]
ffffffffc0000010 t helper\t[loop]
ffffffffc0100000 t nvme_probe\t[nvme]
";

    #[test]
    fn finds_all_symbols_of_a_name() {
        let symbols = parse(SMALL).unwrap();
        let helpers: Vec<_> = symbols.by_name("helper").collect();
        let addresses: Vec<_> = helpers.iter().map(|symbol| symbol.address & 0xffff_ffff).collect();
        assert_eq!(addresses, [0x8100_0100, 0x8100_0300, 0xc000_0010]);
        assert_eq!(helpers[0].module, None);
        assert_eq!(helpers[2].module, Some("loop"));
        assert!(helpers[0].is_function());
        assert!(!symbols.by_name("jiffies").next().unwrap().is_function());
        assert_eq!(symbols.by_name("absent").count(), 0);
        assert_eq!(symbols.len(), 10);
    }

    #[test]
    fn resolves_addresses() {
        let symbols = parse(SMALL).unwrap();
        let resolve = |address| symbols.resolve(address).map(|(symbol, at)| (symbol.name, at));
        assert_eq!(resolve(0xffff_ffff_8100_0000), Some(("_stext", 0)));
        assert_eq!(resolve(0xffff_ffff_8100_0042), Some(("_stext", 0x42)));
        assert_eq!(resolve(0xffff_ffff_8100_02ff), Some(("do_exit", 0xff)));
        assert_eq!(resolve(0xffff_ffff_c000_0011), Some(("helper", 1)));
        // Behind the end of the kernel, but not far; and too far.
        assert_eq!(resolve(0xffff_ffff_8100_0500), Some(("jiffies", 0x100)));
        assert_eq!(resolve(0xffff_ffff_8100_0400 + LAST_SYMBOL_MAX), None);
        assert_eq!(resolve(u64::MAX), None);
        assert_eq!(resolve(0x1000), None);
        assert_eq!(resolve(0), None);
    }

    #[test]
    fn hidden_addresses_resolve_to_nothing() {
        let symbols = parse("0000000000000000 T do_exit\n0000000000000000 t helper\n").unwrap();
        assert!(symbols.addresses_hidden());
        assert_eq!(symbols.resolve(0), None);
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0000), None);
        assert_eq!(symbols.by_name("do_exit").count(), 1);
    }

    #[test]
    fn errors_name_file_and_line() {
        for (line, what) in [
            ("", "empty line"),
            ("xyz T name", "address is not a hexadecimal number of 64 bits"),
            ("+1 T name", "address is not a hexadecimal number of 64 bits"),
            ("11111111111111111 T name", "address is not a hexadecimal number of 64 bits"),
            ("0 TT name", "type is not one character"),
            ("0 T", "no name"),
            ("0 T name module", "module is not in brackets"),
        ] {
            let error = parse(&format!("0 T fine\n{line}\n")).unwrap_err().to_string();
            assert_eq!(error, format!("symbols:2: not a kernel symbol: {what}"));
        }
        let error = Kallsyms::from_file("/nonexistent").unwrap_err().to_string();
        assert!(error.starts_with("cannot read kernel symbols from /nonexistent"), "{error}");
    }

    #[test]
    fn reads_the_running_kernel() {
        let symbols = match Kallsyms::read() {
            Ok(symbols) => symbols,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let exit = symbols.by_name("do_exit").next().unwrap();
        assert!(exit.is_function());
        if symbols.addresses_hidden() {
            return eprintln!("skipped the rest: the kernel hides addresses");
        }
        assert_eq!(symbols.resolve(exit.address + 4).unwrap(), (exit, 4));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(
            text in "([0-9a-f]{0,17} ?[Tt]? [a-z_]{0,8}(\t\\[[a-z]{0,3}\\]?)?\n?){0,8}|\\PC{0,64}",
            address in prop_oneof![any::<u64>(), 0_u64..1 << 20],
        ) {
            if let Ok(symbols) = parse(&text) {
                let _ = symbols.resolve(address);
                for symbol in symbols.iter() {
                    prop_assert!(symbols.by_name(symbol.name).any(|found| found == symbol));
                }
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Kallsyms::parse(bytes.as_slice(), Path::new("symbols"));
        }
    }
}
