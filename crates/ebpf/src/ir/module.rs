//! A module: the functions of one program, the maps it refers to and its source lines.

use super::entity::{FuncId, LineId, MapRef};
use super::function::Function;
use crate::error::Error;
use crate::program::Line;

/// The functions of one program. The first declared is its entry.
#[derive(Clone, Debug)]
pub struct Module {
    pub(crate) name: String,
    pub(crate) functions: Vec<Declared>,
    pub(crate) maps: Vec<String>,
    pub(crate) lines: Vec<Line>,
    /// The first mistake made while defining.
    pub(crate) error: Option<Error>,
}

/// A function by its declaration, with its definition once there is one.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) params: usize,
    /// What the parameters are, of a function that is verified once.
    pub(crate) once: Option<Vec<Param>>,
    pub(crate) function: Option<Function>,
}

/// A parameter of a function that is verified once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// A number; no caller can pass a pointer.
    Word,
    /// The address of so many bytes, a multiple of 8, that the function may read and write; or null, to
    /// the verifier. Callers pass the address of initialized memory.
    Memory(u32),
}

impl Module {
    /// A module without functions. The name is for error messages and dumps.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            functions: Vec::new(),
            maps: Vec::new(),
            lines: Vec::new(),
            error: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Announces a function with `params` parameters (0 to 5), so that others can call it. The first
    /// one is the program's entry.
    pub fn declare(&mut self, name: impl Into<String>, params: usize) -> FuncId {
        self.add(Declared { name: name.into(), params, once: None, function: None })
    }

    /// Announces a function that the verifier looks at once and by itself, however often it is called
    /// (Linux 5.6): inside nothing is known of what is passed but what the parameters say, and callers
    /// know nothing of the result.
    pub fn declare_once(&mut self, name: impl Into<String>, params: &[Param]) -> FuncId {
        let once = Some(params.to_vec());
        self.add(Declared { name: name.into(), params: params.len(), once, function: None })
    }

    fn add(&mut self, declared: Declared) -> FuncId {
        self.functions.push(declared);
        FuncId::new(self.functions.len() - 1)
    }

    /// Gives a declared function its definition, which must take as many parameters as declared.
    /// Functions that the entry does not reach by calls or addresses are not compiled: the kernel
    /// refuses code that nothing calls.
    pub fn define(&mut self, id: FuncId, function: Function) {
        let result = match self.functions.get_mut(id.index()) {
            None => Err(Error::NotDeclared(id, function.name)),
            Some(Declared { name, function: Some(_), .. }) => {
                Err(Error::DefinedTwice(name.clone()))
            }
            Some(declared) if declared.params != function.params() => Err(Error::Parameters {
                function: declared.name.clone(),
                declared: declared.params,
                defined: function.params(),
            }),
            Some(declared) => {
                declared.function = Some(function);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    /// A map by its name; the same name gives the same reference. Which map that is, says
    /// [`Program::relocate`](crate::Program::relocate).
    pub fn map(&mut self, name: impl Into<String>) -> MapRef {
        let name = name.into();
        let index = self.maps.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.maps.push(name);
            self.maps.len() - 1
        });
        MapRef::new(index)
    }

    /// A source line for the verifier's log and `bpftool`: file, line and column from 1, and the
    /// line's text.
    pub fn line(
        &mut self,
        file: impl Into<String>,
        line: u32,
        column: u32,
        text: impl Into<String>,
    ) -> LineId {
        self.lines.push(Line { file: file.into(), line, column, text: text.into() });
        LineId::new(self.lines.len() - 1)
    }
}
