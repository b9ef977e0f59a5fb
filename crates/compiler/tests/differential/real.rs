//! Making calls real: the words that a program gets for the values of an event, and what is at their
//! addresses.

use compiler::observed::{Fault, Observed};
use compiler::trial;
use policy::checked::{ValueKind, Width};
use policy::document::TypeName;
use policy::evaluate::generate::Call;
use policy::evaluate::{Event, Value};

/// The types whose values can be made up.
pub(crate) const KINDS: &[TypeName] = {
    use TypeName as T;
    &[
        T::Int8,
        T::Sint8,
        T::Uint8,
        T::Int16,
        T::Sint16,
        T::Uint16,
        T::Int,
        T::Int32,
        T::Sint32,
        T::Uint32,
        T::BpfCmd,
        T::Int64,
        T::Sint64,
        T::Long,
        T::Uint64,
        T::Ulong,
        T::SizeT,
        T::String,
        T::String,
        T::String,
        T::String,
    ]
};

/// Whether a type is nothing but a number.
pub(crate) fn is_number(kind: TypeName) -> bool {
    matches!(kind.kind(), ValueKind::Integer(_))
}

/// Random words, the same ones for the same seed (SplitMix64).
pub(crate) struct Words(u64);

impl Words {
    pub(crate) fn new(seed: u64) -> Self {
        // Not those of the generator.
        Self(!seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A call: the event as the evaluator has it, and how it is made real.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) event: Event,
    /// What stands in words above the bits of narrower types.
    pub(crate) above: u64,
    /// The address of what cannot be read.
    pub(crate) nowhere: u64,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, value) in self.event.args.iter().enumerate() {
            match value {
                Value::Text(text) => {
                    writeln!(f, "arg{index}: {} bytes: {}", text.len(), text.escape_ascii())?;
                }
                Value::Fault => writeln!(f, "arg{index}: at {:#x}", self.nowhere)?,
                value => writeln!(f, "arg{index}: {value:?}")?,
            }
        }
        if let Some(value) = &self.event.returned {
            writeln!(f, "returned: {value:?}")?;
        }
        writeln!(f, "bits above: {:#x}", self.above)
    }
}

/// Addresses where nothing can be read: of the null page, behind all memory of processes, of no memory
/// at all, of the kernel's last page.
const NOWHERE: [u64; 6] = [0, 1, 0xfff, 0x7fff_ffff_f000, 0xdead_0000_0000_0000, u64::MAX];

/// Longest text that is captured.
const TEXT_MAX: usize = 4096;

impl Given {
    pub(crate) fn new(words: &mut Words, call: &Call, mut event: Event) -> Self {
        for (kind, value) in call.args.iter().zip(&mut event.args) {
            // What is longer is cut, for filters too.
            if let (Value::Text(text), TypeName::String) = (value, kind) {
                text.truncate(TEXT_MAX);
            }
        }
        let random = words.next();
        let above = words.of(&[0, u64::MAX, random]);
        Self { event, above, nowhere: words.of(&NOWHERE) }
    }

    /// The call as it is tried. `memory` keeps what it points to.
    pub(crate) fn call(&self, call: &Call, memory: &mut Vec<Vec<u8>>) -> trial::Call {
        let mut arguments = [0; trial::ARGUMENTS];
        for ((index, kind), value) in call.indices().iter().zip(&call.args).zip(&self.event.args) {
            arguments[*index as usize] = self.word(*kind, value, memory);
        }
        let returned = match (call.returned, &self.event.returned) {
            (Some(kind), Some(value)) => self.word(kind, value, memory),
            _ => self.above,
        };
        trial::Call { arguments, returned }
    }

    fn word(&self, kind: TypeName, value: &Value, memory: &mut Vec<Vec<u8>>) -> u64 {
        match (value, kind.kind()) {
            (Value::Integer(value), ValueKind::Integer(Width { bits, .. })) => {
                let mask = u64::MAX >> (64 - bits);
                *value as u64 & mask | self.above & !mask
            }
            (Value::Text(text), _) => {
                let mut text = text.clone();
                text.push(0);
                // Text that is longer than what is captured goes on behind it.
                if text.len() > TEXT_MAX {
                    text.insert(TEXT_MAX, b'+');
                }
                memory.push(text);
                memory.last().map_or(0, |text| text.as_ptr() as u64)
            }
            (Value::Fault, _) => self.nowhere,
            (value, _) => panic!("{value:?} of type {kind} cannot be made up"),
        }
    }

    /// What is to be captured: arguments and return value.
    pub(crate) fn captured(&self, call: &Call) -> (Vec<Option<Observed>>, Option<Observed>) {
        let args = call.args.iter().zip(&self.event.args);
        let args = args.map(|(kind, value)| Some(observed(*kind, value))).collect();
        let returned = call.returned.zip(self.event.returned.as_ref());
        (args, returned.map(|(kind, value)| observed(kind, value)))
    }

    /// Calls with one thing less.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.above != 0 {
            all.push(Self { above: 0, ..self.clone() });
        }
        let mut with = |change: &dyn Fn(&mut Event)| {
            let mut smaller = self.clone();
            change(&mut smaller.event);
            all.push(smaller);
        };
        for (index, value) in self.event.args.iter().enumerate() {
            for value in smaller(value) {
                with(&|event| event.args[index] = value.clone());
            }
        }
        for value in self.event.returned.iter().flat_map(smaller) {
            with(&|event| event.returned = Some(value.clone()));
        }
        all
    }
}

fn smaller(value: &Value) -> Vec<Value> {
    match value {
        Value::Integer(0) => Vec::new(),
        Value::Integer(number) => {
            [0, number / 2, number - number.signum()].map(Value::Integer).to_vec()
        }
        Value::Text(text) => {
            let mut all = Vec::new();
            if text.len() > 3 {
                let (left, right) = text.split_at(text.len() / 2);
                all.extend([left, right].map(|half| Value::Text(half.to_vec())));
            }
            if text.len() < 40 {
                for index in 0..text.len() {
                    let mut rest = text.clone();
                    rest.remove(index);
                    all.push(Value::Text(rest));
                }
            }
            all
        }
        _ => Vec::new(),
    }
}

fn observed(kind: TypeName, value: &Value) -> Observed {
    match (value, kind.kind()) {
        (Value::Integer(value), ValueKind::Integer(Width { bits, signed })) => {
            match (bits, signed) {
                (64, true) => Observed::Long(*value as i64),
                (64, false) => Observed::Size(*value as u64),
                (_, true) => Observed::Int(*value as i32),
                (_, false) => Observed::Uint(*value as u32),
            }
        }
        (Value::Text(text), _) => Observed::Text(text.clone()),
        (Value::Fault, _) => Observed::Fault(Fault::Address),
        (value, _) => panic!("{value:?} of type {kind} cannot be made up"),
    }
}
