//! Types as C writes them, for diagnostics.

use super::{Btf, Type, TypeId};

/// Nesting and length at which the text is cut off with `…`: only hostile data comes here.
const MAX_DEPTH: u32 = 32;
const MAX_LENGTH: usize = 4096;

impl Btf {
    /// A type as C writes it: `struct task_struct *`, `const char *[16]`.
    pub fn display(&self, id: TypeId) -> String {
        self.declaration(id, "")
    }

    /// A declaration of `name` with a type, as C writes it: `char comm[16]`.
    pub fn declaration(&self, id: TypeId, name: &str) -> String {
        let mut budget = MAX_LENGTH;
        self.declare(id, name.to_owned(), 0, &mut budget)
    }

    /// A function as C declares it: `int security_file_open(struct file *file)`.
    pub fn prototype_text(&self, func: TypeId) -> String {
        match self.ty(func) {
            Ok(Type::Func { name, prototype }) => self.declaration(prototype, name),
            _ => self.display(func),
        }
    }

    /// Puts a type around a declarator, from the inside out: C writes `*` before and `[]`, `()` behind
    /// what is declared. `budget` bounds how much is written in all.
    fn declare(&self, id: TypeId, inner: String, depth: u32, budget: &mut usize) -> String {
        if depth > MAX_DEPTH || inner.len() >= *budget {
            return spaced("…", &inner);
        }
        *budget -= 1;
        let Ok(ty) = self.ty(id) else {
            return spaced("?", &inner);
        };
        let named = |keyword: &str, name: &str| {
            let name = if name.is_empty() { "(anonymous)" } else { name };
            spaced(&spaced(keyword, name), &inner)
        };
        match ty {
            Type::Void => spaced("void", &inner),
            Type::Int(int) => named("", int.name),
            Type::Float { name, .. } | Type::Typedef { name, .. } => named("", name),
            Type::Struct(composite) => named("struct", composite.name),
            Type::Union(composite) => named("union", composite.name),
            Type::Forward { name, union } => named(if union { "union" } else { "struct" }, name),
            Type::Enum(of) => named("enum", of.name),
            Type::Pointer { to } => self.declare(to, format!("*{inner}"), depth + 1, budget),
            Type::Array { element, length, .. } => {
                let declarator = format!("{}[{length}]", grouped(inner));
                self.declare(element, declarator, depth + 1, budget)
            }
            // Qualifiers of a pointer stand behind its `*`, those of anything else before its name.
            Type::Const { ty } => self.qualify(ty, "const", inner, depth, budget),
            Type::Volatile { ty } => self.qualify(ty, "volatile", inner, depth, budget),
            Type::Restrict { ty } => self.qualify(ty, "restrict", inner, depth, budget),
            Type::TypeTag { tag, ty } => {
                self.qualify(ty, &format!("__{tag}"), inner, depth, budget)
            }
            Type::FuncProto(proto) => {
                let mut params = Vec::new();
                let mut rest = proto.params();
                while let Some((name, ty)) = rest.next() {
                    if *budget == 0 {
                        params.push("…".to_owned());
                        break;
                    }
                    let last = rest.len() == 0;
                    params.push(match ty {
                        TypeId::VOID if last => "...".to_owned(),
                        _ => self.declare(ty, name.to_owned(), depth + 1, budget),
                    });
                    *budget = budget.saturating_sub(params.last().map_or(0, String::len));
                }
                let params = if params.is_empty() { "void".to_owned() } else { params.join(", ") };
                let declarator = format!("{}({params})", grouped(inner));
                self.declare(proto.ret, declarator, depth + 1, budget)
            }
            Type::Func { name, prototype } => {
                self.declare(prototype, name.to_owned(), depth + 1, budget)
            }
            Type::Var { name, ty } => self.declare(ty, name.to_owned(), depth + 1, budget),
            Type::DataSection(section) => named("section", section.name),
            Type::DeclTag { tag, ty, .. } => {
                self.declare(ty, inner, depth + 1, budget) + " /* " + tag + " */"
            }
        }
    }

    fn qualify(
        &self,
        ty: TypeId,
        qualifier: &str,
        inner: String,
        depth: u32,
        budget: &mut usize,
    ) -> String {
        match self.ty(self.peel(ty)) {
            Ok(Type::Pointer { .. }) => {
                self.declare(ty, spaced(qualifier, &inner), depth + 1, budget)
            }
            _ => spaced(qualifier, &self.declare(ty, inner, depth + 1, budget)),
        }
    }
}

fn spaced(left: &str, right: &str) -> String {
    match (left, right) {
        ("", text) | (text, "") => text.to_owned(),
        (left, right) => format!("{left} {right}"),
    }
}

/// `[]` and `()` bind tighter than `*`.
fn grouped(declarator: String) -> String {
    if declarator.starts_with('*') { format!("({declarator})") } else { declarator }
}
