//! Handles of the things that a program is made of: small numbers that index dense tables of the
//! function or module that gave them out. A handle means nothing in another one's tables; the
//! verifier catches those that are out of range.

use std::fmt::{Debug, Display, Formatter, Result};

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The handle of the entry at `index`.
            pub(crate) const fn new(index: usize) -> Self {
                Self(index as u32)
            }

            /// The index of its entry.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                Display::fmt(self, f)
            }
        }
    };
}

entity! {
    /// A 64-bit value, defined once.
    Value, "v"
}
entity! {
    /// A basic block.
    Block, "block"
}
entity! {
    /// An instruction that is not a block's last.
    Inst, "inst"
}
entity! {
    /// A piece of a function's stack.
    Slot, "s"
}
entity! {
    /// A mutable variable of a [`FunctionBuilder`](super::FunctionBuilder).
    Var, "var"
}
entity! {
    /// A function of a module.
    FuncId, "func"
}
entity! {
    /// A map that a module refers to by name.
    MapRef, "map"
}
entity! {
    /// A source line of a module.
    LineId, "line"
}
