//! What can be wrong with a program, each with its place.

use crate::ir::{Block, FuncId, LineId, MapRef, Slot, Value, Var};

/// Why a program cannot be built or compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The IR of a function breaks a rule.
    #[error("function {function}, {place}: {problem}")]
    Ir {
        /// The function.
        function: String,
        /// Where in it.
        place: Place,
        /// Which rule.
        problem: Problem,
    },
    /// A declared function was never defined.
    #[error("function {0} is declared but not defined")]
    NotDefined(String),
    /// A function was defined that this module has not declared.
    #[error("function {1} is defined as {0}, which this module has not declared")]
    NotDeclared(FuncId, String),
    /// A function was defined twice.
    #[error("function {0} is defined twice")]
    DefinedTwice(String),
    /// A function's definition takes another number of parameters than its declaration says.
    #[error(
        "function {function} is declared with {declared} parameters and defined with {defined}"
    )]
    Parameters {
        /// The function.
        function: String,
        /// Parameters of the declaration.
        declared: usize,
        /// Parameters of the definition.
        defined: usize,
    },
    /// The module has no function.
    #[error("the module {0} has no function")]
    Empty(String),
    /// A function calls itself, over others or directly, which the kernel refuses.
    #[error("recursion: {}", .0.join(" calls "))]
    Recursion(Vec<String>),
    /// A function's stack does not fit into a frame.
    #[error(
        "function {function} needs {} bytes of stack, {slots} for slots ({largest}) and {spills} for \
         values that do not fit into registers; a frame has 512",
        slots + spills
    )]
    Frame {
        /// The function.
        function: String,
        /// Bytes of its slots.
        slots: u32,
        /// Bytes of spilled values.
        spills: u32,
        /// Its largest slots, in words.
        largest: String,
    },
    /// A chain of calls needs more stack than the kernel grants.
    #[error("the calls {} need {bytes} bytes of stack together; the kernel grants 512", .chain.join(" → "))]
    Stack {
        /// Functions of the chain, each with its frame's size.
        chain: Vec<String>,
        /// Sum of the frames, each rounded up to 32 as the kernel does.
        bytes: u32,
    },
    /// More than eight functions are active at once.
    #[error("the calls {} are {} deep; the kernel allows 8", .0.join(" → "), .0.len())]
    CallDepth(Vec<String>),
    /// The register allocator gave up, or its checker found a fault: a bug in this crate.
    #[error("function {function}: no registers could be assigned: {cause}")]
    Registers {
        /// The function.
        function: String,
        /// What the allocator says.
        cause: String,
    },
    /// A jump cannot be made to reach.
    #[error(
        "function {function} has jumps that no chain of islands can make reach; it has {slots} slots"
    )]
    JumpTooFar {
        /// The function.
        function: String,
        /// Its size in 8-byte slots.
        slots: usize,
    },
    /// A map has no file descriptor.
    #[error("the program refers to map {0}, for which no file descriptor was given")]
    UnresolvedMap(String),
    /// The text of a module does not parse.
    #[error("line {line}: {message}")]
    Parse {
        /// Line, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
}

impl Error {
    /// Whether the program is right but larger than the kernel allows: its functions, its stack or its
    /// depth of calls.
    pub fn is_size(&self) -> bool {
        matches!(
            self,
            Self::Frame { .. } | Self::Stack { .. } | Self::CallDepth(_) | Self::JumpTooFar { .. }
        )
    }

    /// Names of the functions that it is about.
    pub fn functions(&self) -> Vec<&str> {
        match self {
            Self::Ir { function, .. }
            | Self::NotDefined(function)
            | Self::NotDeclared(_, function)
            | Self::DefinedTwice(function)
            | Self::Parameters { function, .. }
            | Self::Frame { function, .. }
            | Self::Registers { function, .. }
            | Self::JumpTooFar { function, .. } => vec![function],
            // Frames' sizes stand behind the names.
            Self::Recursion(chain) | Self::CallDepth(chain) | Self::Stack { chain, .. } => {
                chain.iter().filter_map(|name| name.split(' ').next()).collect()
            }
            Self::Empty(_) | Self::UnresolvedMap(_) | Self::Parse { .. } => Vec::new(),
        }
    }
}

/// Where in a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The function as a whole.
    Function,
    /// A block.
    Block(Block),
    /// An instruction, as the IR's text shows it.
    Inst(Block, String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Function => write!(f, "as a whole"),
            Self::Block(block) => write!(f, "{block}"),
            Self::Inst(block, text) => write!(f, "{block}, {text:?}"),
        }
    }
}

/// A rule of the IR that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Code was added behind a block's end.
    #[error("the block has ended; switch to another before adding code")]
    BlockEnded,
    /// Control flow reaches a block that does not end.
    #[error("the block ends with neither jump, branch nor return")]
    BlockOpen,
    /// Something branches to the entry block.
    #[error("the entry block cannot be branched to")]
    EntryTarget,
    /// A block number that this function does not have.
    #[error("there is no {0} in this function")]
    NoBlock(Block),
    /// A value number that this function does not have.
    #[error("there is no {0} in this function")]
    NoValue(Value),
    /// A slot number that this function does not have.
    #[error("there is no {0} in this function")]
    NoSlot(Slot),
    /// A variable number that this function does not have.
    #[error("there is no {0} in this function")]
    NoVar(Var),
    /// A function number that the module does not have.
    #[error("there is no {0} in the module")]
    NoFunction(FuncId),
    /// A map number that the module does not have.
    #[error("there is no {0} in the module")]
    NoMap(MapRef),
    /// A value is used where it is not always defined.
    #[error("{0} is used where not every path has defined it")]
    NotDominating(Value),
    /// An instruction stands in several places.
    #[error("the instruction stands in another place, too")]
    Repeated,
    /// A variable is read where some path has not set it.
    #[error("{0} is read, but not set on every path; the path from {1} does not")]
    UnsetVariable(Var, Block),
    /// A source line that the module does not have.
    #[error("there is no {0} in the module")]
    NoLine(LineId),
    /// A jump passes the wrong number of arguments.
    #[error("{block} takes {takes} arguments and gets {gets}")]
    Arguments {
        /// Target block.
        block: Block,
        /// Its parameters.
        takes: usize,
        /// What is passed.
        gets: usize,
    },
    /// A call to a function of the module passes the wrong number of arguments.
    #[error("function {function} takes {takes} arguments and gets {gets}")]
    CallArguments {
        /// The callee.
        function: String,
        /// Its parameters.
        takes: usize,
        /// What is passed.
        gets: usize,
    },
    /// More than five arguments or parameters.
    #[error("{0} arguments; the kernel's calling convention has five registers for them")]
    TooManyArguments(usize),
    /// A parameter that the function does not have.
    #[error("parameter {index} of a function with {params}")]
    NoParam {
        /// What was asked for.
        index: usize,
        /// How many there are.
        params: usize,
    },
    /// The operation does not exist in this size.
    #[error("there is no {what} of {bits} bits")]
    Size {
        /// Which operation.
        what: &'static str,
        /// The size asked for.
        bits: u32,
    },
    /// A constant shift amount outside the operand's width.
    #[error("a shift by {0} of a {1}-bit operand")]
    Shift(i32, u32),
    /// A division by the constant zero.
    #[error("a division by the constant 0")]
    DivisionByZero,
    /// A slot of a size or alignment that no frame has.
    #[error(
        "{slot} of {size} bytes aligned to {align}: sizes are 1 to 512, alignments 1, 2, 4 or 8"
    )]
    SlotShape {
        /// The slot.
        slot: Slot,
        /// Its size.
        size: u32,
        /// Its alignment.
        align: u32,
    },
    /// An access outside a slot, or not aligned in it.
    #[error("{bytes} bytes at {off} of {slot}, which has {size} bytes aligned to {align}")]
    SlotAccess {
        /// The slot.
        slot: Slot,
        /// Its size.
        size: u32,
        /// Its alignment.
        align: u32,
        /// Where the access starts.
        off: i16,
        /// How long it is.
        bytes: u32,
    },
}
