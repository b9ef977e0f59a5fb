//! Functions by name: from `.symtab` and `.dynsym`; for Go programs without them, from Go's own table.

use object::elf::{STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE};
use object::{Object as _, ObjectSymbol as _, SymbolFlags};

use crate::contents::{Contents, Elf};
use crate::go;

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FunctionKind {
    /// A function.
    Code,
    /// A function that chooses another when the program starts (`STT_GNU_IFUNC`): it is that one that is
    /// called by the name, and this one only chooses.
    Chooser,
    /// A function of another file, which is called here.
    Elsewhere,
    /// No function but data.
    Data,
}

/// A symbol that code is called by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// Its name, without version.
    pub name: String,
    /// What it stands for.
    pub kind: FunctionKind,
    /// Whether other files see it.
    pub global: bool,
    /// Where in the file its code begins; for [`FunctionKind::Code`] and [`FunctionKind::Chooser`].
    pub offset: Option<u64>,
    /// Bytes of its code; 0: not known.
    pub size: u64,
}

/// Fills in what the symbol tables tell.
pub(crate) fn read(elf: &Elf<'_>, contents: &mut Contents) {
    let mut functions = Vec::new();
    for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
        let (Ok(name), SymbolFlags::Elf { st_info, .. }) = (symbol.name(), symbol.flags()) else {
            continue;
        };
        // The static table has versions in names: `name@VERSION`, `name@@DEFAULT`.
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        if name.is_empty() {
            continue;
        }
        let offset = contents.code_offset(symbol.address());
        let kind = match st_info.st_type() {
            _ if symbol.is_undefined() => FunctionKind::Elsewhere,
            STT_GNU_IFUNC if offset.is_some() => FunctionKind::Chooser,
            STT_FUNC | STT_NOTYPE if offset.is_some() => FunctionKind::Code,
            _ => FunctionKind::Data,
        };
        // ARM marks where code and data begin by `$x` and `$d`.
        let mark = name.starts_with('$') && !symbol.is_global();
        if mark {
            continue;
        }
        let code = matches!(kind, FunctionKind::Code | FunctionKind::Chooser);
        functions.push(Function {
            name: name.to_owned(),
            kind,
            global: symbol.is_global(),
            offset: offset.filter(|_| code),
            size: symbol.size(),
        });
    }
    let of_go = go::functions(elf, contents);
    contents.is_go = of_go.is_some();
    let any = functions.iter().any(|function| function.kind == FunctionKind::Code);
    if let Some(of_go) = of_go.filter(|_| !any) {
        contents.from_go = true;
        functions.extend(of_go);
    }
    functions.sort();
    // Both tables of symbols have what is exported.
    functions.dedup();
    contents.functions = functions;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Section, Symbol, Synthetic, TEXT};

    fn kinds(contents: &Contents, name: &str) -> Vec<(FunctionKind, Option<u64>)> {
        contents.named(name).map(|function| (function.kind, function.offset)).collect()
    }

    #[test]
    fn symbols_are_told_apart() {
        let mut made = Synthetic::new();
        let text = made.text(&[0xc3; 64]);
        made.symbol(Symbol::function("first", TEXT, 16));
        made.symbol(Symbol::function("second@@V_2", TEXT + 16, 8));
        made.symbol(Symbol { local: true, ..Symbol::function("twice", TEXT + 24, 8) });
        made.symbol(Symbol { local: true, ..Symbol::function("twice", TEXT + 32, 8) });
        made.symbol(Symbol { kind: STT_GNU_IFUNC, ..Symbol::function("chosen", TEXT + 40, 8) });
        made.symbol(Symbol { kind: STT_NOTYPE, ..Symbol::function("label", TEXT + 48, 0) });
        made.symbol(Symbol { undefined: true, ..Symbol::function("malloc", 0, 0) });
        made.symbol(Symbol { kind: object::elf::STT_OBJECT, ..Symbol::function("table", 8, 8) });
        let contents = made.contents();
        assert_eq!(kinds(&contents, "first"), [(FunctionKind::Code, Some(text))]);
        assert_eq!(kinds(&contents, "second"), [(FunctionKind::Code, Some(text + 16))]);
        assert_eq!(
            kinds(&contents, "twice"),
            [(FunctionKind::Code, Some(text + 24)), (FunctionKind::Code, Some(text + 32))]
        );
        assert_eq!(kinds(&contents, "chosen"), [(FunctionKind::Chooser, Some(text + 40))]);
        assert_eq!(kinds(&contents, "label"), [(FunctionKind::Code, Some(text + 48))]);
        assert_eq!(kinds(&contents, "malloc"), [(FunctionKind::Elsewhere, None)]);
        assert_eq!(kinds(&contents, "table"), [(FunctionKind::Data, None)]);
        assert_eq!(kinds(&contents, "firs"), []);
        let inside = |offset| contents.containing(offset).map(|function| function.name.as_str());
        assert_eq!(inside(text + 15), Some("first"));
        assert_eq!(inside(text + 16), Some("second"));
        assert_eq!(inside(text + 63), None);
        assert!(contents.is_code(text + 0x1fff) && !contents.is_code(text + 0x2000));
        assert_eq!(contents.code_offset(TEXT + 63), Some(text + 63));
        assert_eq!(contents.code_offset(TEXT + 0x2000), None);
        assert!(!contents.is_go);
    }

    #[test]
    fn build_id_and_types_are_found() {
        let mut made = Synthetic::new();
        made.text(&[0xc3]);
        let mut note = Vec::new();
        for word in [4_u32, 3, object::elf::NT_GNU_BUILD_ID.0] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"GNU\0\x01\x02\xff\0");
        made.section(Section::note(".note.gnu.build-id", &note));
        made.section(Section::data(".BTF", b"types"));
        let contents = made.contents();
        assert_eq!(contents.build_id.as_deref(), Some(&[1, 2, 255][..]));
        assert_eq!(contents.btf.as_deref(), Some(&b"types"[..]));
    }
}
