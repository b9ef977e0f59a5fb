//! Post with the digest of the file that an LSM hook is about, as IMA has it or computes it.
//!
//! IMA has digests of what its policy measures, and computes others when it is asked. Not so at `file_open`
//! and `bprm_creds_for_exec` at times: a file that is only being opened cannot be read yet.
//!
//! Reading a file may wait, and only programs that may sleep can ask for its digest
//! (`bpf_ima_file_hash()`, Linux 5.18). Those can make no tail calls, which policies' programs need, and
//! they should not hold a scratch area while they wait. So a program of its own comes after the policies'
//! one, at *measured* places of their own: it is the same for all policies, does nothing unless the thread
//! asked for a digest in this run of the hook, and sends it in a record that user space puts to the events
//! that asked.
//!
//! A program that denies is the last one to see a call. Where a digest was asked for it is therefore the
//! second program that denies: the first one leaves its error in the thread's storage. The head of a
//! measured place takes away what a run before may have left there, because the second program was not run:
//! so an error is never that of another call.
//!
//! Of several programs on an LSM hook the one that was attached last runs first (`hlist_add_head()` in
//! `__bpf_trampoline_link_prog()`).

use crate::Error;
use crate::emit::map::{counter, measure};
use crate::emit::record::at;
use crate::emit::section::{Role, Section};
use crate::emit::{Context, Emitter};
use crate::flow::{choose, when};
use crate::helper;
use crate::plan::Attachment;
use ebpf::{Cond, FunctionBuilder, MapRef, Size, Value};
use policy::checked::{Action, Selector};

/// Kind of record, the first word: a digest. Its header is that of a match, with the algorithm
/// (`enum hash_algo`) in place of the selector; an errno, negative, where there is no digest.
pub(crate) const KIND: u32 = 66;
/// Longest digest (`IMA_MAX_DIGEST_SIZE`); it follows the header.
pub(crate) const DIGEST_MAX: i16 = 64;

/// Whether a selector's events have the digest.
pub(crate) fn asked(selector: &Selector) -> bool {
    selector.actions.iter().any(|action| match &action.value {
        Action::Post(post) => post.ima_hash,
        _ => false,
    })
}

/// Whether events of a hook have it.
pub(crate) fn any(selectors: &[Selector]) -> bool {
    selectors.iter().any(asked)
}

/// What a thread has asked for.
fn storage(b: &mut FunctionBuilder, measures: MapRef, create: bool) -> Value {
    let task = b.call(helper::GET_CURRENT_TASK_BTF, &[]);
    let measures = b.map(measures);
    let none = b.iconst(0);
    let flags = b.iconst(if create { helper::STORAGE_CREATE.into() } else { 0 });
    b.call(helper::TASK_STORAGE_GET, &[measures, task, none, flags])
}

/// Begins a run: takes away what one before may have left.
pub(crate) fn begin(b: &mut FunctionBuilder, measures: MapRef) {
    let storage = storage(b, measures, false);
    when(b, Cond::Ne, storage, 0, |b| {
        let run = b.load(Size::U32, storage, measure::RUN);
        let run = b.add(run, 1);
        b.store(Size::U32, storage, measure::RUN, run);
        b.store(Size::U32, storage, measure::ASKED, 0);
        b.store(Size::U32, storage, measure::ERROR, 0);
    });
}

/// Ends a program whose result is `verdict`: leaves it to the second program where a digest was asked for.
/// Gives what to return.
pub(crate) fn end(b: &mut FunctionBuilder, measures: MapRef, verdict: Value) -> Value {
    let storage = storage(b, measures, false);
    let pass = |b: &mut FunctionBuilder| {
        let asked = b.load(Size::U32, storage, measure::ASKED);
        let leave = |b: &mut FunctionBuilder| {
            let before = b.load(Size::U32, storage, measure::ERROR);
            when(b, Cond::Eq, before, 0, |b| {
                let zero = b.iconst(0);
                let error = b.sub(zero, verdict);
                b.store(Size::U32, storage, measure::ERROR, error);
            });
            b.iconst(0)
        };
        choose(b, Cond::Ne, asked, 0, leave, |_| verdict)
    };
    choose(b, Cond::Ne, storage, 0, pass, |_| verdict)
}

impl Emitter<'_> {
    /// Asks for the digest if the selector's events have it, and has the record say so.
    pub(crate) fn ask_for_digest(&mut self, section: &Section, selector: Value) {
        let hook = section.hook.clone();
        let asking: Vec<usize> = match section.role {
            Role::Whole => {
                (0..hook.selectors.len()).filter(|n| asked(&hook.selectors[*n])).collect()
            }
            _ => Vec::new(),
        };
        if asking.is_empty() {
            return;
        }
        let (ask, done) = (self.b.create_block(), self.b.create_block());
        let zero = self.b.iconst(0);
        let run = self.b.var();
        self.b.def(run, zero);
        for index in asking {
            let next = self.b.create_block();
            self.is_selector(section.role, selector, index, ask, next);
            self.b.switch_to(next);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(ask);
        let storage = storage(&mut self.b, self.maps.measures, true);
        self.unless(Cond::Eq, storage, 0, done); // the event is sent without
        let b = &mut self.b;
        b.store(Size::U32, storage, measure::ASKED, 1);
        let number = b.load(Size::U32, storage, measure::RUN);
        let number = b.or(number, measure::AWAITED);
        b.def(run, number);
        b.jump(done, &[]);
        b.switch_to(done);
        self.measured_in = Some(run);
    }

    /// The section of the second program.
    pub(crate) fn measure(&mut self, section: &Section) -> Result<(), Error> {
        let leave = self.leave;
        let storage = storage(&mut self.b, self.maps.measures, false);
        self.unless(Cond::Eq, storage, 0, leave);
        let asked = self.b.load(Size::U32, storage, measure::ASKED);
        self.unless(Cond::Eq, asked, 0, leave);
        // Whoever reads the file for its digest passes hooks too.
        self.b.store(Size::U32, storage, measure::ASKED, 0);
        let error = self.b.load(Size::U32, storage, measure::ERROR);
        let denied = self.denied(error);
        if let Some(verdict) = self.verdict {
            self.b.def(verdict, denied);
        }
        let run = self.b.load(Size::U32, storage, measure::RUN);
        let record = self.b.slot((at::SIZE + DIGEST_MAX) as u32, 8);
        for word in 0..(at::SIZE + DIGEST_MAX) / 8 {
            self.b.slot_store(Size::U64, record, 8 * word, 0);
        }
        let file = self.measured_file(section)?;
        let file_is_there = |b: &mut FunctionBuilder| {
            let to = b.slot_addr(record, at::SIZE);
            let size = b.iconst(DIGEST_MAX.into());
            b.call(helper::IMA_FILE_HASH, &[file, to, size])
        };
        let algorithm = choose(&mut self.b, Cond::Ne, file, 0, file_is_there, |b| b.iconst(-1));
        let now = self.now();
        let b = &mut self.b;
        let cpu = b.call(helper::GET_SMP_PROCESSOR_ID, &[]);
        let ids = b.call(helper::GET_CURRENT_PID_TGID, &[]);
        let awaited = b.or(run, measure::AWAITED);
        b.slot_store(Size::U32, record, at::KIND, KIND as i32);
        b.slot_store(Size::U32, record, at::CPU, cpu);
        b.slot_store(Size::U64, record, at::TIME, now);
        b.slot_store(Size::U32, record, at::TID, ids);
        b.slot_store(Size::U32, record, at::SELECTOR, algorithm);
        b.slot_store(Size::U32, record, at::RUN, awaited);
        let ring = b.map(self.maps.observation);
        let from = b.slot_addr(record, 0);
        let size = b.iconst((at::SIZE + DIGEST_MAX).into());
        let flags = b.iconst(0);
        let failed = b.call(helper::RINGBUF_OUTPUT, &[ring, from, size, flags]);
        self.unless(Cond::Eq, failed, 0, leave);
        // The event is sent without.
        self.count(counter::FAILED);
        self.b.jump(leave, &[]);
        Ok(())
    }

    /// The file that the hook is about: its first argument, or what an exec is to run.
    fn measured_file(&mut self, section: &Section) -> Result<Value, Error> {
        let (Attachment::Lsm { hook, .. }, Context::Words { context, .. }) =
            (&section.hook.attachment, self.context)
        else {
            return Err(Error::Unsupported("imaHash elsewhere than at an LSM hook".to_owned()));
        };
        let first = self.b.load(Size::U64, context, 0);
        if !hook.starts_with("bprm_") {
            return Ok(first);
        }
        // A plain load: of what it gives the verifier knows the type.
        let offset = self.read.offset("linux_binprm", "file")?;
        Ok(self.b.load(Size::U64, first, offset as i16))
    }
}
