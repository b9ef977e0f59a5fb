//! Arguments of static probes: in registers, in the process's memory, or constants.

use super::load::{Reading, status};
use super::{Context, Emitter};
use crate::plan::{Operand, OperandPlace};
use ebpf::{Block, Size, Value};

impl Emitter<'_> {
    /// An argument, extended to 64 bits by its sign or by zeros. Goes to `fault`, which takes a status,
    /// where it is in memory that cannot be read; without `fault` it is 0 then.
    pub(super) fn operand(&mut self, operand: &Operand, fault: Option<Block>) -> Value {
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
