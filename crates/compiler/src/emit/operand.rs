//! Arguments of static probes: in registers, in the process's memory, or constants.

use super::load::{Reading, status};
use super::{Context, Emitter};
use crate::plan::{Operand, OperandPlace};
use ebpf::{Block, Cond, Size, Value, Var};

/// What an argument was before an action could set it.
pub(crate) struct BeforeSet {
    operand: Operand,
    value: Var,
    /// Whether it could be read.
    known: Var,
}

impl Emitter<'_> {
    /// An argument, extended to 64 bits by its sign or by zeros. Goes to `fault`, which takes a status,
    /// where it is in memory that cannot be read; without `fault` it is 0 then.
    pub(super) fn operand(&mut self, operand: &Operand, fault: Option<Block>) -> Value {
        if let Some(value) = self.before_set(operand, fault) {
            return value;
        }
        let (value, size) = match &operand.place {
            OperandPlace::Constant(value) => return self.b.iconst(*value),
            OperandPlace::Register(register) => (self.user_register(*register), register.1),
            OperandPlace::Memory { .. } => {
                let address = self.operand_address(&operand.place);
                let size = super::load::access(operand.size);
                let reading = Reading::User;
                let value = match fault {
                    Some(fault) => self.peek(reading, address, 0, size, fault, status::ADDRESS),
                    None => self.peek_or_zero(reading, address, 0, size),
                };
                (value, operand.size)
            }
        };
        let size = super::load::access(size);
        match size {
            Size::U64 => value,
            size if operand.signed => self.b.sext(value, size),
            size => self.b.zext(value, size),
        }
    }

    /// Reads an argument that an action is going to set: from here on it is what the program was called with.
    pub(crate) fn keep_before_set(&mut self, operand: &Operand) {
        if self.before_set.iter().any(|kept| kept.operand == *operand) {
            return;
        }
        let (value, known) = (self.b.var(), self.b.var());
        let zero = self.b.iconst(0);
        self.b.def(value, zero);
        self.b.def(known, zero);
        let (fault, next) = (self.b.create_block(), self.b.create_block());
        self.b.append_param(fault);
        let found = self.operand(operand, Some(fault));
        self.b.def(value, found);
        let yes = self.b.iconst(1);
        self.b.def(known, yes);
        self.b.jump(next, &[]);
        self.b.switch_to(fault);
        self.b.jump(next, &[]);
        self.b.switch_to(next);
        self.before_set.push(BeforeSet { operand: operand.clone(), value, known });
    }

    fn before_set(&mut self, operand: &Operand, fault: Option<Block>) -> Option<Value> {
        let kept = self.before_set.iter().find(|kept| kept.operand == *operand)?;
        let (value, known) = (kept.value, kept.known);
        if let Some(fault) = fault {
            let next = self.b.create_block();
            let known = self.b.get(known);
            let status = self.b.iconst(status::ADDRESS.into());
            self.b.branch(Cond::Ne, known, 0, next, &[], fault, &[status]);
            self.b.switch_to(next);
        }
        Some(self.b.get(value))
    }

    /// The address of an argument that is in memory; 0 for others.
    pub(crate) fn operand_address(&mut self, place: &OperandPlace) -> Value {
        let OperandPlace::Memory { base, index, displacement } = place else {
            return self.b.iconst(0);
        };
        let mut address = self.b.iconst(*displacement);
        if let Some(base) = base {
            let base = self.user_register(*base);
            address = self.b.add(address, base);
        }
        if let Some((index, scale)) = index {
            let index = self.user_register(*index);
            let scaled = self.b.shl(index, scale.trailing_zeros() as i32);
            address = self.b.add(address, scaled);
        }
        address
    }

    /// A register of the program: its offset in `struct pt_regs`, and its bytes.
    fn user_register(&mut self, (offset, size): (u32, u32)) -> Value {
        match self.context {
            Context::Program { context } => {
                self.b.load(super::load::access(size), context, offset as i16)
            }
            _ => self.b.iconst(0),
        }
    }
}
