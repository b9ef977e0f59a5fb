//! Scripts of system calls as text; how they are written says the head of `calls.txt`.

use kernel::child::{Memory, Script, Step, Word};
use kernel::syscalls::Abi;
use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

/// What the tested call gives without a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Something that is no error.
    Success,
    /// This.
    Exactly(i64),
    /// Nothing: it does not come back.
    Nothing,
}

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// The system call.
    pub(crate) call: String,
    /// What it gives.
    pub(crate) gives: Gives,
    /// The whole script.
    pub(crate) script: Script,
    /// Index of the tested step.
    pub(crate) tested: usize,
}

/// Reads all cases.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| case(number, line)).collect()
}

fn case(line: usize, text: &str) -> Case {
    let (call, steps) = text.split_once(' ').unwrap_or_else(|| panic!("line {line}"));
    let mut reader = Reader {
        line,
        chars: steps.chars().peekable(),
        script: Script::default(),
        memory: HashMap::new(),
        steps: HashMap::new(),
    };
    let mut tested = None;
    loop {
        let mark = reader.step(call);
        if let Some(gives) = mark {
            assert!(tested.is_none(), "line {line}: two calls are tested");
            tested = Some((reader.script.steps.len() - 1, gives));
        }
        match reader.next_word() {
            true => continue,
            false => break,
        }
    }
    let (tested, gives) = tested.unwrap_or_else(|| panic!("line {line}: no call is tested"));
    Case { line, call: call.to_owned(), gives, script: reader.script, tested }
}

struct Reader<'t> {
    line: usize,
    chars: Peekable<Chars<'t>>,
    script: Script,
    /// Names of pieces of memory.
    memory: HashMap<String, usize>,
    /// Names of steps.
    steps: HashMap<String, usize>,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.chars.next_if(|c| *c == ' ').is_some() {}
    }

    /// Whether another step follows.
    fn next_word(&mut self) -> bool {
        self.blanks();
        self.chars.next_if_eq(&';').is_some()
    }

    /// Characters of names and numbers.
    fn plain(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)) {
            text.push(c);
        }
        text
    }

    /// Reads a step; what it gives if it is the one that is tested.
    fn step(&mut self, tested: &str) -> Option<Gives> {
        self.blanks();
        let gives = self.chars.next_if_eq(&'!').map(|_| match self.plain().as_str() {
            "" => Gives::Success,
            "x" => Gives::Nothing,
            number => Gives::Exactly(number.parse().unwrap()),
        });
        self.blanks();
        let mut name = self.plain();
        if self.chars.next_if_eq(&'=').is_some() {
            self.steps.insert(name, self.script.steps.len());
            name = self.plain();
        }
        assert!(gives.is_none() || name == tested, "line {}: `{name}` is tested", self.line);
        let mut arguments = Vec::new();
        loop {
            self.blanks();
            match self.chars.peek() {
                None | Some(';') => break,
                Some(_) => arguments.push(self.word()),
            }
        }
        let step = if name == "peek" {
            let (memory, offset) = match arguments[..] {
                [Word::Address(memory)] => (memory, 0),
                [Word::Load(memory, offset)] => (memory, offset),
                _ => panic!("line {}: what is to be looked at?", self.line),
            };
            Step::Peek(memory, offset)
        } else {
            let number = Abi::X64.number(&name);
            let number = number.unwrap_or_else(|| panic!("line {}: `{name}`", self.line));
            Step::Call { number, arguments, marked: gives.is_some() }
        };
        self.script.steps.push(step);
        gives
    }

    fn number(&mut self) -> i64 {
        let text = self.plain();
        let (digits, radix) = match text.get(..2) {
            Some("0x") => (&text[2..], 16),
            Some("0o") => (&text[2..], 8),
            _ => (text.as_str(), 10),
        };
        i64::from_str_radix(digits, radix)
            .unwrap_or_else(|_| panic!("line {}: `{text}`", self.line))
    }

    /// `+N`, or 0.
    fn plus(&mut self) -> usize {
        let plus = self.chars.next_if_eq(&'+').is_some();
        if plus { self.number().try_into().unwrap() } else { 0 }
    }

    fn piece(&mut self, memory: Memory) -> Word {
        self.script.memory.push(memory);
        Word::Address(self.script.memory.len() - 1)
    }

    fn named(&mut self) -> usize {
        let name = self.plain();
        *self.memory.get(&name).unwrap_or_else(|| panic!("line {}: no memory `{name}`", self.line))
    }

    fn word(&mut self) -> Word {
        self.blanks();
        match self.chars.peek().copied() {
            Some('"') => {
                self.chars.next();
                let text: String =
                    std::iter::from_fn(|| self.chars.next_if(|c| *c != '"')).collect();
                self.chars.next();
                self.piece(Memory::Bytes(text.into_bytes(), 1))
            }
            Some('&') => {
                self.chars.next();
                let zeros = self.number().try_into().unwrap();
                self.piece(Memory::Bytes(Vec::new(), zeros))
            }
            Some('x') => {
                self.chars.next();
                let digits = self.plain();
                let pairs = digits.as_bytes().chunks(2);
                let byte =
                    |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
                let bytes = pairs.map(byte).collect();
                let zeros = self.plus();
                self.piece(Memory::Bytes(bytes, zeros))
            }
            Some('[') => {
                self.chars.next();
                let mut words = Vec::new();
                loop {
                    self.blanks();
                    if self.chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    words.push(self.word());
                }
                self.piece(Memory::Words(words))
            }
            Some('$') => {
                self.chars.next();
                let name = self.plain();
                let step = self.steps.get(&name);
                Word::Result(
                    *step.unwrap_or_else(|| panic!("line {}: no step `{name}`", self.line)),
                )
            }
            Some('@') => {
                self.chars.next();
                let memory = self.named();
                match self.chars.peek() {
                    Some('+') => Word::Load(memory, self.plus()),
                    _ => Word::Address(memory),
                }
            }
            Some('*') => {
                self.chars.next();
                let memory = self.named();
                Word::Load(memory, self.plus())
            }
            Some(c) if c.is_ascii_lowercase() => {
                let name = self.plain();
                assert_eq!(self.chars.next(), Some(':'), "line {}: `{name}`", self.line);
                let word = self.word();
                let Word::Address(memory) = word else { panic!("line {}: `{name}`", self.line) };
                self.memory.insert(name, memory);
                word
            }
            _ => Word::Number(self.number()),
        }
    }
}
