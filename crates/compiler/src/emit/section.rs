//! A section: what one hook of one policy does at one place.
//!
//! Selectors are tried in order; the first whose filters all hold acts. Within a selector the filters
//! stand from cheap to dear: first what the process is, then values. Nothing is captured before a
//! selector matches, except texts that a filter had to read.

use super::program::Sample;
use super::record::Position;
use super::{Context, Emitter, map};
use crate::act::rate_limit;
use crate::follow::digest;
use crate::follow::scopes::Restriction;
use crate::plan::{Attachment, HookPlan, Input};
use crate::{Error, filter, helper, test};
use ebpf::{Block, Cond, Size, Value};
use policy::PolicyKey;
use policy::checked::{CheckedPolicy, Comparison, Filter, FilterTest, Place, Selector, Subject};
use std::sync::{Arc, OnceLock};

/// Which part of a call a section sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// All there is: there is no return value, or the program sees arguments and result together.
    Whole,
    /// The entry; the return is awaited.
    Entry,
    /// The return.
    Return,
    /// The LSM hook of this number, at which calls are denied whose entry marked the thread for it.
    Gate(u8),
    /// The return, where the mark is taken away.
    Unmark,
    /// The entry, after the one that marks: gives the call's result in its place.
    Replace,
    /// An LSM hook, where the file is measured after the policies' program.
    Measure,
    /// A call of the policy's enforcer.
    Enforce,
}

/// One hook of one policy at one place.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Number in records; the entry and the return of a hook have the same.
    pub(crate) number: u32,
    /// The policy.
    pub(crate) policy: Arc<CheckedPolicy>,
    /// What stands for it in the names of what is kept for it alone ([`digest`]).
    pub(crate) own: String,
    /// The hook.
    pub(crate) hook: Arc<HookPlan>,
    /// Which part it is.
    pub(crate) role: Role,
    /// Number of the policy's mode ([`map::control::MODES`]).
    pub(crate) mode: u32,
    /// What it can be folded with, once that was asked.
    pub(crate) sample: Arc<OnceLock<Sample>>,
}

impl Section {
    /// How many elements of counters it has: for what no selector did, and for each selector.
    pub(crate) fn counters(&self) -> u32 {
        1 + self.hook.selectors.len() as u32
    }

    /// A part of a policy's hook. The parts of one hook have one number.
    pub(crate) fn new(
        number: u32,
        (key, policy): (&PolicyKey, Arc<CheckedPolicy>),
        hook: Arc<HookPlan>,
        role: Role,
        mode: u32,
    ) -> Self {
        Self { number, policy, own: digest(key), hook, role, mode, sample: Arc::default() }
    }

    /// Whether it does nothing that another one at the same place does not do.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        match (self.role, other.role) {
            (Role::Gate(_), Role::Gate(_))
            | (Role::Replace, Role::Replace)
            | (Role::Measure, Role::Measure) => true,
            (Role::Unmark, Role::Unmark) => self.hook.attachment == other.hook.attachment,
            _ => false,
        }
    }

    /// Where its hook stands, for messages: file, line, column and path.
    pub(crate) fn place(&self) -> String {
        let (file, Place { path, mark }) = (&self.policy.file, &self.hook.place);
        format!("{file}:{}:{} {path}", mark.line, mark.column)
    }
}

impl Emitter<'_> {
    /// Emits a section from the current block; every way through it ends in [`Self::leave`].
    pub(crate) fn section(&mut self, section: &Section) -> Result<(), Error> {
        self.at(&section.hook.place);
        match section.role {
            Role::Whole | Role::Entry => self.entry(section),
            Role::Return => self.at_return(section),
            Role::Gate(number) => self.gate(number),
            Role::Unmark => {
                self.unmark();
                Ok(())
            }
            Role::Replace => self.replace(),
            Role::Measure => self.measure(section),
            Role::Enforce => self.enforce(section),
        }
    }

    fn entry(&mut self, section: &Section) -> Result<(), Error> {
        let hook = &section.hook;
        if let Some(restriction) = Restriction::of_policy(&section.policy) {
            let leave = self.leave;
            filter::workloads(self, &restriction, leave)?;
        }
        // A text that several selectors ask about is read once.
        let filters = hook.selectors.iter().flat_map(|selector| &selector.filters);
        let texts: Vec<Position> = filters.flat_map(positions).collect();
        self.declare_texts(
            texts.into_iter().filter(|position| position.input(hook).is_some_and(test::reads_text)),
        );
        if self.paths.kept && climbing(section).next().is_some() {
            self.declare_climbed();
        }
        let selector = match section.role {
            _ if hook.selectors.is_empty() => self.b.iconst(0),
            Role::Entry => self.holding(hook)?,
            _ => self.first(hook)?,
        };
        self.matched(section, selector)
    }

    /// Goes on with 1 + the first selector all of whose filters hold; leaves when there is none.
    fn first(&mut self, hook: &HookPlan) -> Result<Value, Error> {
        let found = self.b.create_block();
        let code = self.b.append_param(found);
        for (index, selector) in hook.selectors.iter().enumerate() {
            let next = self.b.create_block();
            self.at(&selector.place);
            self.process_filters(selector, next)?;
            self.value_filters(&selector.filters, hook, next)?;
            if hook.returned.is_some() {
                self.value_filters(&selector.return_filters, hook, next)?;
            }
            filter::recorded(self, selector)?;
            let matched = self.b.iconst(index as i64 + 1);
            self.b.jump(found, &[matched]);
            self.b.switch_to(next);
        }
        let leave = self.leave;
        self.b.jump(leave, &[]);
        self.b.switch_to(found);
        Ok(code)
    }

    /// Goes on with the set of selectors (bit n for selector n) of which one will match, whatever the
    /// call returns or depending on it; leaves when there is none. Behind one that does not look at
    /// what is returned, none is asked.
    fn holding(&mut self, hook: &HookPlan) -> Result<Value, Error> {
        if hook.selectors.len() > map::call::SELECTORS {
            return Err(Error::TooManySelectors(hook.selectors.len()));
        }
        let found = self.b.create_block();
        let set = self.b.append_param(found);
        let holding = self.b.var();
        let none = self.b.iconst(0);
        self.b.def(holding, none);
        for (index, selector) in hook.selectors.iter().enumerate() {
            let next = self.b.create_block();
            self.at(&selector.place);
            self.process_filters(selector, next)?;
            self.value_filters(&selector.filters, hook, next)?;
            // With nothing left to ask it will match; else it is recorded once it has.
            if selector.return_filters.is_empty() {
                filter::recorded(self, selector)?;
            }
            let before = self.b.get(holding);
            let bit = self.b.iconst(1 << index);
            let with = self.b.or(before, bit);
            self.b.def(holding, with);
            if selector.return_filters.is_empty() {
                self.b.jump(found, &[with]);
            } else {
                self.b.jump(next, &[]);
            }
            self.b.switch_to(next);
        }
        let all = self.b.get(holding);
        let leave = self.leave;
        self.b.branch(Cond::Ne, all, 0, found, &[all], leave, &[]);
        self.b.switch_to(found);
        Ok(set)
    }

    /// Filters by the process, from cheap to dear; goes to `otherwise` unless all hold.
    fn process_filters(&mut self, selector: &Selector, otherwise: Block) -> Result<(), Error> {
        if let Some(restriction) = selector.workloads.as_ref().and_then(Restriction::of_scope) {
            filter::workloads(self, &restriction, otherwise)?;
        }
        for pids in &selector.pids {
            self.at(&pids.place);
            filter::pids(self, pids, otherwise)?;
        }
        for namespaces in &selector.namespaces {
            self.at(&namespaces.place);
            filter::namespaces(self, namespaces, otherwise)?;
        }
        for capabilities in &selector.capabilities {
            self.at(&capabilities.place);
            filter::capabilities(self, capabilities, otherwise)?;
        }
        for changes in &selector.namespace_changes {
            self.at(&changes.place);
            filter::namespace_changes(self, changes, otherwise)?;
        }
        for changes in &selector.capability_changes {
            self.at(&changes.place);
            filter::capability_changes(self, changes, otherwise)?;
        }
        for binaries in &selector.binaries {
            self.at(&binaries.place);
            filter::binaries(self, binaries, otherwise)?;
        }
        for binaries in &selector.parent_binaries {
            self.at(&binaries.place);
            filter::parent_binaries(self, binaries, otherwise)?;
        }
        Ok(())
    }

    fn value_filters(
        &mut self,
        filters: &[Filter],
        hook: &HookPlan,
        otherwise: Block,
    ) -> Result<(), Error> {
        // Numbers before what has to be read from memory.
        let mut ordered: Vec<&Filter> = filters.iter().collect();
        ordered.sort_by_key(|filter| {
            let inputs = positions(filter).into_iter().filter_map(|position| position.input(hook));
            inputs.map(|input| test::cost(input.kind)).max().unwrap_or(0)
        });
        for filter in ordered {
            let FilterTest::Known(test) = &filter.test else {
                return Err(Error::Unsupported(format!("{}: a type is open", filter.place.path)));
            };
            self.at(&filter.place);
            let yes = self.b.create_block();
            let to = super::Targets { yes, no: otherwise, unknown: otherwise };
            match position(filter) {
                Some(position) => {
                    let input = position.input(hook).ok_or_else(|| {
                        Error::Unsupported(format!("{}: no such value", filter.place.path))
                    })?;
                    test::test(self, position, input, hook, test, to)?;
                }
                None => test::expression(self, hook, test, to)?,
            }
            self.b.switch_to(yes);
        }
        Ok(())
    }

    /// A selector has matched, or there is none. `selector`: what [`Self::first`] or
    /// [`Self::holding`] gave; 0 without selectors.
    fn matched(&mut self, section: &Section, selector: Value) -> Result<(), Error> {
        self.find_owner(section)?;
        self.act(section, selector)?;
        if section.role == Role::Whole {
            self.track_returned(section, selector)?;
            let leave = self.leave;
            self.unless_silent(section, selector, leave);
        }
        self.with_scratch(|e| e.report(section, selector))
    }

    fn report(&mut self, section: &Section, selector: Value) -> Result<(), Error> {
        let hook = section.hook.clone();
        let now = self.now();
        for (index, input) in hook.args.iter().enumerate() {
            if !(input.return_copy && section.role == Role::Entry) {
                self.at(&input.place);
                self.capture(Position::Argument(index), input)?;
            }
        }
        for (index, input) in hook.data.iter().enumerate() {
            self.at(&input.place);
            self.capture(Position::Data(index), input)?;
        }
        self.at(&hook.place);
        let args = hook.args.iter().enumerate().map(|(n, input)| (Position::Argument(n), input));
        let data = hook.data.iter().enumerate().map(|(n, input)| (Position::Data(n), input));
        for (position, input) in args.chain(data) {
            self.send_parts(position, input, section.number, now)?;
        }
        self.append_owner();
        if section.role == Role::Entry {
            self.await_return(section, selector, now)?;
            self.stacks(section, selector);
            // Which selector it is, says the return.
            self.send(section.number, 0, now, None)?;
        } else {
            if let Some(input) = &hook.returned {
                self.capture(Position::Returned, input)?;
            }
            let leave = self.leave;
            self.unless_limited(section, selector, now, None, leave);
            self.ask_for_digest(section, selector);
            self.stacks(section, selector);
            self.send(section.number, selector, now, None)?;
            self.count_of(selector, map::counter::POSTED);
        }
        let leave = self.leave;
        self.b.jump(leave, &[]);
        Ok(())
    }

    /// Notes the call, so that its return is seen.
    fn await_return(
        &mut self,
        section: &Section,
        selectors: Value,
        now: Value,
    ) -> Result<(), Error> {
        use map::call;
        let value = self.b.slot(call::VALUE_SIZE as u32, 8);
        self.b.slot_store(Size::U64, value, call::TIME, now);
        self.b.slot_store(Size::U64, value, call::HOLDING, selectors);
        let buffers: Vec<_> =
            section.hook.args.iter().filter(|input| input.return_copy).cloned().collect();
        if buffers.len() > call::BUFFER_COUNT {
            return Err(Error::TooManyBuffers(buffers.len()));
        }
        for index in 0..call::BUFFER_COUNT {
            let address = match buffers.get(index) {
                Some(input) => self.address(input)?,
                None => self.b.iconst(0),
            };
            let at = call::BUFFERS + 8 * index as i16;
            self.b.slot_store(Size::U64, value, at, address);
        }
        let digest = match rate_limit::any(&section.hook.selectors) {
            true => self.digest(),
            false => self.b.iconst(0),
        };
        self.b.slot_store(Size::U64, value, call::DIGEST, digest);
        let key = self.call_key(section, false)?;
        let calls = self.b.map(self.maps.calls);
        let value = self.b.slot_addr(value, 0);
        let flags = self.b.iconst(0);
        let failed = self.b.call(helper::MAP_UPDATE_ELEM, &[calls, key, value, flags]);
        let (full, noted) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Ne, failed, 0, full, noted);
        // Half an event would never be completed.
        self.b.switch_to(full);
        self.count(map::counter::NO_CALL);
        let leave = self.leave;
        self.b.jump(leave, &[]);
        self.b.switch_to(noted);
        Ok(())
    }

    /// The address that an input leads to now; 0, at which nothing can be read, where a pointer on the
    /// way is bad.
    fn address(&mut self, input: &Input) -> Result<Value, Error> {
        let (fault, found) = (self.b.create_block(), self.b.create_block());
        self.b.append_param(fault);
        let address = self.b.append_param(found);
        let loaded = self.load(input, fault)?;
        self.b.jump(found, &[loaded.value]);
        self.b.switch_to(fault);
        let none = self.b.iconst(0);
        self.b.jump(found, &[none]);
        self.b.switch_to(found);
        Ok(address)
    }

    /// The key of this call: the same at its entry and its return.
    fn call_key(&mut self, section: &Section, at_return: bool) -> Result<Value, Error> {
        use map::call;
        let frame = match self.context {
            // Entry and return programs of one trampoline get the same array on its stack.
            Context::Words { context, .. } | Context::Record { context } => context,
            Context::Function { context } | Context::Program { context } => {
                let base = crate::read::Base::Typed(context);
                let stack = self.register(base, super::context::register::STACK)?;
                let popped = if at_return { super::context::register::POPPED } else { 0 };
                self.b.sub(stack, popped)
            }
            Context::Syscall { .. } => match section.hook.attachment {
                // One system call at a time per task.
                Attachment::Syscall { .. } => self.b.call(helper::GET_CURRENT_PID_TGID, &[]),
                Attachment::Kprobe { .. } => {
                    let base = crate::read::Base::Typed(self.raw_context);
                    let stack = self.register(base, super::context::register::STACK)?;
                    let popped = if at_return { super::context::register::POPPED } else { 0 };
                    self.b.sub(stack, popped)
                }
                _ => self.raw_context,
            },
        };
        let key = self.b.temporary(call::KEY_SIZE as u32, 8);
        self.b.slot_store(Size::U64, key, call::FRAME, frame);
        self.b.slot_store(Size::U32, key, call::SECTION, section.number as i32);
        match self.context {
            // Programs have their stacks at the same addresses.
            Context::Program { .. } => {
                let ids = self.b.call(helper::GET_CURRENT_PID_TGID, &[]);
                self.b.slot_store(Size::U32, key, call::THREAD, ids);
            }
            _ => self.b.slot_store(Size::U32, key, call::THREAD, 0),
        }
        Ok(self.b.slot_addr(key, 0))
    }

    fn at_return(&mut self, section: &Section) -> Result<(), Error> {
        use map::call;
        let leave = self.leave;
        let key = self.call_key(section, true)?;
        let calls = self.b.map(self.maps.calls);
        let noted = self.b.call(helper::MAP_LOOKUP_ELEM, &[calls, key]);
        self.require(Cond::Ne, noted, 0, leave);
        let began = self.b.load(Size::U64, noted, call::TIME);
        let holding = self.b.load(Size::U64, noted, call::HOLDING);
        let digest = self.b.load(Size::U64, noted, call::DIGEST);
        let buffers: Vec<Value> = (0..call::BUFFER_COUNT)
            .map(|index| self.b.load(Size::U64, noted, call::BUFFERS + 8 * index as i16))
            .collect();
        let key = self.call_key(section, true)?;
        let calls = self.b.map(self.maps.calls);
        self.b.call(helper::MAP_DELETE_ELEM, &[calls, key]);
        // Something is sent in any case: the values, or the word that there are none.
        let call = Call { began, holding, digest, buffers };
        self.with_scratch(|e| e.complete(section, &call))
    }

    /// Completes a call.
    fn complete(&mut self, section: &Section, call: &Call) -> Result<(), Error> {
        let hook = section.hook.clone();
        let leave = self.leave;
        let (began, holding) = (call.began, call.holding);
        let forget = self.b.create_block();
        let post = self.b.create_block();
        let selector = self.b.append_param(post);
        for (index, filters) in hook.selectors.iter().enumerate() {
            let (mine, next) = (self.b.create_block(), self.b.create_block());
            let bit = self.b.iconst(1 << index);
            let bit = self.b.and(holding, bit);
            self.b.brif(Cond::Ne, bit, 0, mine, next);
            self.b.switch_to(mine);
            self.at(&filters.place);
            self.value_filters(&filters.return_filters, &hook, next)?;
            if !filters.return_filters.is_empty() {
                filter::recorded(self, filters)?;
            }
            let matched = self.b.iconst(index as i64 + 1);
            self.b.jump(post, &[matched]);
            self.b.switch_to(next);
        }
        if hook.selectors.is_empty() {
            let none = self.b.iconst(0);
            self.b.jump(post, &[none]);
        } else {
            self.b.jump(forget, &[]);
        }
        self.b.switch_to(post);
        self.act(section, selector)?;
        self.track_returned(section, selector)?;
        self.unless_silent(section, selector, forget);
        let mut buffers = call.buffers.iter();
        for (index, input) in hook.args.iter().enumerate().filter(|(_, input)| input.return_copy) {
            if let Some(address) = buffers.next() {
                self.returned_buffer = Some(*address);
                self.capture(Position::Argument(index), input)?;
                self.returned_buffer = None;
            }
        }
        if let Some(input) = &hook.returned {
            self.capture(Position::Returned, input)?;
        }
        let now = self.now();
        self.unless_limited(section, selector, now, Some(call.digest), forget);
        self.stacks(section, selector);
        self.send(section.number, selector, now, Some(began))?;
        self.count_of(selector, map::counter::POSTED);
        self.b.jump(leave, &[]);
        // The entry's half waits in user space: tell it to forget.
        self.b.switch_to(forget);
        let now = self.now();
        self.send(section.number, -1, now, Some(began))?;
        self.b.jump(leave, &[]);
        Ok(())
    }
}

/// What was noted of a call at its entry.
struct Call {
    /// When it began.
    began: Value,
    /// The selectors whose entry part held, bit n for selector n.
    holding: Value,
    /// Digest of the entry's record.
    digest: Value,
    /// Addresses to read now.
    buffers: Vec<Value>,
}

/// Which value a filter is about; `None` for an expression over several.
fn position(filter: &Filter) -> Option<Position> {
    match filter.subject {
        Subject::Argument(index) => Some(Position::Argument(index)),
        Subject::Data(index) => Some(Position::Data(index)),
        Subject::Return => Some(Position::Returned),
        Subject::Expression => None,
    }
}

/// The value that a filter is about, or the texts that an expression over several reads.
fn positions(filter: &Filter) -> Vec<Position> {
    match (position(filter), &filter.test) {
        (Some(position), _) => vec![position],
        (None, FilterTest::Known(test)) => {
            test::expression_texts(test).into_iter().map(Position::Argument).collect()
        }
        (None, _) => Vec::new(),
    }
}

/// Whether a filter of the section asks for a value.
pub(super) fn is_asked_for(section: &Section, input: &Input) -> bool {
    let filters = section.hook.selectors.iter().flat_map(|selector| &selector.filters);
    filters
        .flat_map(positions)
        .filter_map(|position| position.input(&section.hook))
        .any(|asked| asked.is_same_value(input))
}

/// The filters of a section on values of its call, with what each compares.
fn filters(section: &Section) -> impl Iterator<Item = (&Input, &Comparison)> {
    let hook = &section.hook;
    let asks = matches!(section.role, Role::Whole | Role::Entry);
    let filters =
        hook.selectors.iter().flat_map(|selector| &selector.filters).filter(move |_| asks);
    filters.filter_map(|filter| {
        let FilterTest::Known(known) = &filter.test else { return None };
        Some((position(filter)?.input(hook)?, &known.comparison))
    })
}

/// The value of each filter of a section that asks for the topmost components of a path.
pub(super) fn climbing(section: &Section) -> impl Iterator<Item = &Input> {
    filters(section)
        .filter(|(input, comparison)| test::asks_for_topmost(input, comparison))
        .map(|(input, _)| input)
}

/// How many filters of a section compare bytes.
pub(super) fn comparing_bytes(section: &Section) -> usize {
    filters(section).filter(|(_, comparison)| test::is_of_bytes(comparison)).count()
}
