//! Random programs that are valid, end, and depend on nothing but their input.
//!
//! Every choice is made by the next byte of a string; when it is used up, choices are the first and
//! the program comes to its end. So shorter strings make simpler programs, which lets proptest shrink.
//! The entry takes the address of a context that has input words (u32) at [`INPUT`]; what it returns is
//! mixed from all values still in scope, which keeps many of them alive to the end.

use crate::{
    AluOp, AtomicOp, Block, Cond, FuncId, FunctionBuilder, Module, Operand, Size, Slot, Value, Var,
};

/// Offset of the input words in the context: `cb` of `struct __sk_buff`, so that the same programs run
/// in the kernel as socket filters.
pub(super) const INPUT: i16 = 48;
/// How many input words there are.
pub(super) const WORDS: i16 = 5;
/// Bytes of the context.
pub(super) const CONTEXT: usize = 192;

/// What programs may contain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// Atomics. The interpreter rbpf has none.
    pub(super) atomics: bool,
    /// Comparisons with negative immediates, which rbpf gets wrong. Constants that turn out negative
    /// are not avoided.
    pub(super) negative_compare: bool,
}

/// The string that choices are made by.
struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn below(&mut self, limit: usize) -> usize {
        if limit <= 1 { 0 } else { usize::from(self.byte()) % limit }
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn is_over(&self) -> bool {
        self.bytes.len() == 0
    }

    fn imm(&mut self) -> i32 {
        match self.below(4) {
            0 => i32::from(self.byte()),
            1 => i32::from(self.byte() as i8),
            2 => self.of(&[0, 1, -1, 0x7fff_ffff, i32::MIN, 0xffff, 0x8000, 0xff]),
            _ => i32::from_ne_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    fn number(&mut self) -> i64 {
        match self.below(4) {
            0 => self.imm().into(),
            1 => i64::from(self.imm()) << 32,
            2 => self.of(&[0, -1, i64::MIN, i64::MAX, 1 << 31, 1 << 32, 0xffff_ffff]),
            _ => i64::from(self.imm()).wrapping_mul(0x1_0000_0001),
        }
    }
}

/// A module of up to four functions, the entry calling the others.
pub(super) fn module(bytes: &[u8], features: Features) -> Module {
    let mut choices = Choices { bytes: bytes.iter() };
    let mut module = Module::new("random");
    let entry = module.declare("main", 1);
    let mut callable = Vec::new();
    for index in 0..choices.below(4) {
        let params = choices.below(6);
        let id = module.declare(format!("sub{index}"), params);
        let budget = 4 + choices.below(20);
        let generator = Generator::new(&mut choices, format!("sub{index}"), params, features);
        let function = generator.function(budget, &callable, false);
        module.define(id, function);
        callable.push((id, params));
    }
    let generator = Generator::new(&mut choices, String::from("main"), 1, features);
    let function = generator.function(usize::MAX, &callable, true);
    module.define(entry, function);
    module
}

struct Generator<'a, 'b> {
    choices: &'a mut Choices<'b>,
    b: FunctionBuilder,
    features: Features,
    /// Values whose definition dominates the current place.
    values: Vec<Value>,
    vars: Vec<Var>,
    /// Slots with their sizes in 8-byte words.
    slots: Vec<(Slot, usize)>,
    /// Enclosing branches and loops.
    depth: usize,
    loops: usize,
    budget: usize,
}

const SIZES: [Size; 4] = [Size::U64, Size::U32, Size::U16, Size::U8];

impl<'a, 'b> Generator<'a, 'b> {
    fn new(choices: &'a mut Choices<'b>, name: String, params: usize, features: Features) -> Self {
        Self {
            choices,
            b: FunctionBuilder::new(name, params),
            features,
            values: Vec::new(),
            vars: Vec::new(),
            slots: Vec::new(),
            depth: 0,
            loops: 0,
            budget: 0,
        }
    }

    fn function(
        mut self,
        budget: usize,
        callable: &[(FuncId, usize)],
        is_entry: bool,
    ) -> crate::Function {
        self.budget = budget;
        if is_entry {
            let context = self.b.param(0);
            for word in 0..WORDS {
                let value = self.b.load(Size::U32, context, INPUT + 4 * word);
                self.values.push(value);
            }
        } else {
            for index in 0..self.b.param_count() {
                let value = self.b.param(index);
                self.values.push(value);
            }
        }
        let number = self.choices.number();
        let number = self.b.iconst(number);
        self.values.push(number);
        for _ in 0..self.choices.below(3) {
            let words = 1 + self.choices.below(3);
            let slot = self.b.slot(words as u32 * 8, 8);
            for word in 0..words {
                let value = self.operand();
                self.b.slot_store(Size::U64, slot, word as i16 * 8, value);
            }
            self.slots.push((slot, words));
        }
        for _ in 0..1 + self.choices.below(6) {
            let var = self.b.var();
            let value = self.value();
            self.b.def(var, value);
            self.vars.push(var);
        }
        while self.budget > 0 && !self.choices.is_over() {
            self.statement(callable);
        }
        self.finish()
    }

    fn finish(mut self) -> crate::Function {
        let mut result = self.b.iconst(17);
        let alive = self.values.len().min(40);
        let mut mixed: Vec<Value> = self.values.split_off(self.values.len() - alive);
        for var in self.vars.clone() {
            mixed.push(self.b.get(var));
        }
        for &(slot, words) in &self.slots.clone() {
            for word in 0..words {
                mixed.push(self.b.slot_load(Size::U64, slot, word as i16 * 8));
            }
        }
        for value in mixed {
            let scaled = self.b.mul(result, 31);
            result = self.b.add(scaled, value);
        }
        let high = self.b.lshr(result, 32);
        let result = self.b.xor(result, high);
        self.b.ret(result);
        self.b.finish().unwrap()
    }

    fn value(&mut self) -> Value {
        // Mostly recent ones, now and then an old one that has to survive until here.
        let count = self.values.len();
        let back = if self.choices.below(3) == 0 { count } else { count.min(6) };
        self.values[count - 1 - self.choices.below(back)]
    }

    fn operand(&mut self) -> Operand {
        if self.choices.below(2) == 0 { self.value().into() } else { self.choices.imm().into() }
    }

    fn compared(&mut self) -> Operand {
        match self.operand() {
            Operand::Imm(imm) if !self.features.negative_compare => (imm & i32::MAX).into(),
            other => other,
        }
    }

    fn statement(&mut self, callable: &[(FuncId, usize)]) {
        self.budget -= 1;
        let kinds = if self.depth < 3 { 13 } else { 10 };
        match self.choices.below(kinds) {
            0 | 1 => self.alu(),
            2 => self.unary(),
            3 => {
                let number = self.choices.number();
                let value = self.b.iconst(number);
                self.values.push(value);
            }
            4 => self.store(),
            5 => self.load(),
            6 => {
                let (var, value) = (self.choices.of(&self.vars.clone()), self.value());
                self.b.def(var, value);
            }
            7 => {
                let var = self.choices.of(&self.vars.clone());
                let value = self.b.get(var);
                self.values.push(value);
            }
            8 => self.call(callable),
            9 => self.atomic(),
            10 => self.diamond(callable),
            11 => self.triangle(callable),
            _ => self.counted_loop(callable),
        }
    }

    fn alu(&mut self) {
        let (op, a, mut b) = (self.choices.of(&AluOp::ALL), self.value(), self.operand());
        let wide = self.choices.below(3) > 0;
        if let Operand::Imm(imm) = &mut b {
            match op {
                AluOp::Shl | AluOp::Lshr | AluOp::Ashr => *imm &= if wide { 63 } else { 31 },
                AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod if *imm == 0 => *imm = 3,
                _ => {}
            }
        }
        // Shift amounts in registers are taken modulo the width by all but rbpf's 32-bit shifts, which
        // agree as well; nothing to avoid.
        let value = if wide { self.b.alu(op, a, b) } else { self.b.alu32(op, a, b) };
        self.values.push(value);
    }

    fn unary(&mut self) {
        let a = self.value();
        let value = match self.choices.below(6) {
            0 => self.b.neg(a),
            1 => {
                let size = self.choices.of(&SIZES);
                self.b.sext(a, size)
            }
            2 => {
                let size = self.choices.of(&SIZES);
                self.b.zext(a, size)
            }
            kind => {
                let size = self.choices.of(&SIZES[..3]);
                match kind {
                    3 => self.b.to_be(a, size),
                    4 => self.b.to_le(a, size),
                    _ => self.b.bswap(a, size),
                }
            }
        };
        self.values.push(value);
    }

    /// A slot, and the place of an access of this size in it.
    fn place(&mut self, size: Size) -> Option<(Slot, i16)> {
        if self.slots.is_empty() {
            return None;
        }
        let (slot, words) = self.choices.of(&self.slots.clone());
        let places = words * 8 / size.bytes() as usize;
        Some((slot, (self.choices.below(places) as u32 * size.bytes()) as i16))
    }

    fn store(&mut self) {
        let size = self.choices.of(&SIZES);
        let Some((slot, off)) = self.place(size) else { return };
        let value = self.operand();
        if self.choices.below(2) == 0 {
            self.b.slot_store(size, slot, off, value);
        } else {
            let address = self.b.slot_addr(slot, 0);
            self.b.store(size, address, off, value);
        }
    }

    fn load(&mut self) {
        let size = self.choices.of(&SIZES);
        let Some((slot, off)) = self.place(size) else { return };
        let value = match self.choices.below(3) {
            0 => self.b.slot_load(size, slot, off),
            1 => {
                let address = self.b.slot_addr(slot, 0);
                self.b.load_sext(size, address, off)
            }
            _ => {
                let start = self.b.slot_addr(slot, 0);
                let address = self.b.add(start, i32::from(off));
                self.b.load(size, address, 0)
            }
        };
        self.values.push(value);
    }

    fn call(&mut self, callable: &[(FuncId, usize)]) {
        // A loop multiplies what the callee does; the kernel's verifier counts every instruction.
        if callable.is_empty() || self.loops > 1 {
            return;
        }
        let (id, params) = self.choices.of(callable);
        let args: Vec<Value> = (0..params).map(|_| self.value()).collect();
        let value = self.b.call_func(id, &args);
        self.values.push(value);
    }

    fn atomic(&mut self) {
        let size = self.choices.of(&[Size::U64, Size::U32]);
        let Some((slot, off)) = self.place(size) else { return };
        if !self.features.atomics {
            return;
        }
        let address = self.b.slot_addr(slot, 0);
        let (op, value) = (self.choices.of(&AtomicOp::ALL), self.value());
        let value = match self.choices.below(4) {
            0 => return self.b.atomic(op, size, address, off, value),
            1 => self.b.atomic_fetch(op, size, address, off, value),
            2 => self.b.xchg(size, address, off, value),
            _ => {
                let expected = self.value();
                self.b.cmpxchg(size, address, off, expected, value)
            }
        };
        self.values.push(value);
    }

    /// Branches to two blocks, perhaps over 32 bits.
    fn fork(&mut self, then: Block, then_args: &[Value], otherwise: Block, args: &[Value]) {
        let (cond, a, b) = (self.choices.of(&Cond::ALL), self.value(), self.compared());
        if self.choices.below(2) == 0 {
            self.b.branch(cond, a, b, then, then_args, otherwise, args);
        } else {
            self.b.branch32(cond, a, b, then, then_args, otherwise, args);
        }
    }

    /// Some statements whose values go out of scope at their end.
    fn body(&mut self, callable: &[(FuncId, usize)]) -> Value {
        let scope = self.values.len();
        self.depth += 1;
        for _ in 0..1 + self.choices.below(5) {
            if self.budget > 0 {
                self.statement(callable);
            }
        }
        self.depth -= 1;
        let value = self.value();
        self.values.truncate(scope);
        value
    }

    fn diamond(&mut self, callable: &[(FuncId, usize)]) {
        let (then, otherwise, join) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let joined = self.b.append_param(join);
        self.fork(then, &[], otherwise, &[]);
        for side in [then, otherwise] {
            self.b.switch_to(side);
            let value = self.body(callable);
            self.b.jump(join, &[value]);
        }
        self.b.switch_to(join);
        self.values.push(joined);
    }

    /// Code that may be skipped: the edge around it is critical when it carries a value.
    fn triangle(&mut self, callable: &[(FuncId, usize)]) {
        let (then, join) = (self.b.create_block(), self.b.create_block());
        let joined = self.b.append_param(join);
        let skipped = self.value();
        self.fork(then, &[], join, &[skipped]);
        self.b.switch_to(then);
        let value = self.body(callable);
        self.b.jump(join, &[value]);
        self.b.switch_to(join);
        self.values.push(joined);
    }

    fn counted_loop(&mut self, callable: &[(FuncId, usize)]) {
        if self.loops >= 2 {
            return;
        }
        let (head, body, out) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let times = 1 + self.choices.below(3) as i32;
        let (counter, carried) = (self.b.append_param(head), self.b.append_param(head));
        let (zero, start) = (self.b.iconst(0), self.value());
        self.b.jump(head, &[zero, start]);
        self.b.switch_to(head);
        self.b.brif(Cond::Ult, counter, times, body, out);
        self.b.switch_to(body);
        self.loops += 1;
        let scope = self.values.len();
        self.values.extend([counter, carried]);
        let value = self.body(callable);
        self.values.truncate(scope);
        self.loops -= 1;
        let next = self.b.add(counter, 1);
        self.b.jump(head, &[next, value]);
        self.b.switch_to(out);
        self.values.push(carried);
    }
}
