//! Bringing in memory of the process before it is read.
//!
//! What programs read does not wait for pages: a text that nobody has touched yet is in its file only,
//! and cannot be read at that moment. At an instruction of a program the kernel can wait, in programs
//! that may sleep (Linux 6.0), and at the entry of system calls where errors can be injected into these.
//! But such programs can make no tail calls, which the head of a place needs. So a program of its own
//! comes before it there, which reads what the sections are going to read, waiting for it, and does
//! nothing with it. It sees no generation and no policy: whether it runs once too often makes no
//! difference to anybody.
//!
//! Of several probes of one instruction the one that was attached last runs first (`consumer_add()` in
//! kernel/events/uprobes.c puts it at the head of the list). So it is with programs at a trampoline
//! (`__bpf_trampoline_link_prog()` in kernel/bpf/trampoline.c), where those at the entry also come before
//! those that can take the function's place.
//!
//! System calls are many. There only what filters ask for is brought in: a filter that cannot read what
//! it asks about would miss the call, while of a value that is only told the event says that it could
//! not be read.

use super::Emitter;
use super::section::{Role, Section, is_asked_for};
use crate::plan::{HookPlan, Input, Operand, OperandPlace, Source};
use crate::{Error, helper};
use ebpf::{Cond, Size, Slot, Value};
use policy::checked::ValueKind;
use policy::document::TypeName;

/// Bytes of a text that are read at a time.
const PIECE: i32 = 256;
/// Bytes of a text or buffer that are brought in, at most: as many as are captured.
const MOST: i32 = 4096;
/// Bytes of a page on x86-64; ARM's are as large or larger.
const PAGE: i32 = 4096;
/// Bytes of a buffer with `maxData`, at most.
const WHOLE: i32 = 327_360;

/// The values of a section that are in memory of the process. `asked`: only those that filters ask for.
pub(crate) fn inputs(section: &Section, asked: bool) -> Vec<&Input> {
    let hook: &HookPlan = &section.hook;
    let entry = hook.args.iter().filter(|input| !input.return_copy).chain(&hook.data);
    let inputs: Vec<&Input> = match section.role {
        Role::Whole | Role::Entry => entry.collect(),
        // What a buffer holds that is read at return was written by the program just now.
        Role::Return => hook.returned.iter().collect(),
        Role::Gate(_) | Role::Unmark | Role::Measure | Role::Replace | Role::Enforce => Vec::new(),
    };
    let wanted = |input: &&Input| is_in_memory(input) && (!asked || is_asked_for(section, input));
    inputs.into_iter().filter(wanted).collect()
}

/// Whether reading a value reads memory of the process.
fn is_in_memory(input: &Input) -> bool {
    let own = input.source != Source::CurrentTask;
    let operand =
        matches!(input.source, Source::Operand(Operand { place: OperandPlace::Memory { .. }, .. }));
    own && (is_address(input) || !input.hops.is_empty() || operand)
}

/// Whether a value is where its register or field points to.
fn is_address(input: &Input) -> bool {
    match input.kind.kind() {
        ValueKind::Integer(_) | ValueKind::Capability => false,
        _ => !matches!(input.kind, TypeName::Fd | TypeName::Nop),
    }
}

impl Emitter<'_> {
    /// Where values are read to: for all of them the same, as nobody looks at it.
    pub(super) fn fault_in_slot(&mut self) -> Slot {
        self.b.slot(PIECE as u32, 8)
    }

    /// Reads a value as its capture will.
    pub(super) fn fault_in(&mut self, input: &Input, slot: Slot) -> Result<(), Error> {
        let done = self.b.create_block();
        let fault = self.fault_to(done);
        let loaded = self.load(input, fault)?.value;
        match input.kind {
            TypeName::String => self.fault_in_text(slot, loaded),
            TypeName::SockaddrUn => {
                self.touch(slot, loaded, 0);
                let path = self.b.add(loaded, 2);
                self.fault_in_text(slot, path);
            }
            TypeName::CharBuf => {
                self.touch(slot, loaded, 0);
                let length = match &input.length {
                    Some(length) => self.length_of(length)?,
                    None => self.b.iconst(input.hops.last().map_or(1, |hop| hop.size).into()),
                };
                let most = if input.max_data { WHOLE } else { MOST };
                self.fault_in_pages(slot, loaded, length, most);
            }
            _ if input.kind.kind() == ValueKind::SocketAddress => {
                self.touch(slot, loaded, 0);
                self.touch(slot, loaded, 15);
            }
            _ if is_address(input) => self.touch(slot, loaded, 0),
            _ => {}
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }

    /// A text up to its end, piece by piece: what is behind it is left alone.
    fn fault_in_text(&mut self, slot: Slot, text: Value) {
        let done = self.b.create_block();
        for piece in 0..MOST / (PIECE - 1) + 1 {
            let (failed, read) = (self.b.create_block(), self.b.create_block());
            let length = self.b.append_param(read);
            let at = self.b.add(text, piece * (PIECE - 1));
            let first = self.piece(slot, at);
            self.b.branch(Cond::Slt, first, 0, failed, &[], read, &[first]);
            self.b.switch_to(failed);
            self.touch(slot, at, 0);
            self.touch(slot, at, PIECE - 1);
            let again = self.piece(slot, at);
            self.b.jump(read, &[again]);
            self.b.switch_to(read);
            // One that fills a piece may end in it: the next then begins with its NUL.
            let on = self.b.create_block();
            self.b.brif(Cond::Slt, length, PIECE, done, on);
            self.b.switch_to(on);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
    }

    fn piece(&mut self, slot: Slot, at: Value) -> Value {
        let to = self.b.slot_addr(slot, 0);
        let size = self.b.iconst(PIECE.into());
        self.b.call(helper::PROBE_READ_USER_STR, &[to, size, at])
    }

    /// The pages of a buffer behind its first byte.
    fn fault_in_pages(&mut self, slot: Slot, start: Value, length: Value, most: i32) {
        let done = self.b.create_block();
        for page in 1..=most / PAGE {
            self.unless(Cond::Ule, length, page * PAGE - PAGE, done);
            let (last, more) = (self.b.create_block(), self.b.create_block());
            self.b.brif(Cond::Ult, length, page * PAGE, last, more);
            self.b.switch_to(last);
            let end = self.b.add(start, length);
            self.touch(slot, end, -1);
            self.b.jump(done, &[]);
            self.b.switch_to(more);
            self.touch(slot, start, page * PAGE - 1);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
    }

    /// Waits for the page of a byte; one that there is not is left to those who read.
    fn touch(&mut self, slot: Slot, address: Value, offset: i32) {
        let from = self.b.add(address, offset);
        let to = self.b.slot_addr(slot, 0);
        let one = self.b.iconst(Size::U8.bytes() as i64);
        self.b.call(helper::COPY_FROM_USER, &[to, one, from]);
    }
}
