//! What a selector does when it matches: one file for each kind of action.
//!
//! - [`signal`]: Sigkill and Signal
//! - [`deny`]: Override where the program's own result decides
//! - [`gate`]: Override of system calls by LSM or `bpf_override_return`
//! - [`set`]: Set, for arguments of static probes
//! - [`enforcer`]: NotifyEnforcer, and what the enforcer does
//! - [`ima`]: Post with the digest of a file
//! - [`rate_limit`]: Post with a least time between equal events
//! - [`stack`]: Post with stacks
//! - [`track`]: TrackSock and UntrackSock
//!
//! Actions that interfere come first, before anything is captured, and need no memory that could be
//! taken: what a policy forbids does not depend on whether it can be reported. Whether they take effect
//! is the policy's mode, a word that is read at every match ([`Emitter::enforced`]), so that it can be
//! changed at any time for all hooks of the policy at one instant.

pub(crate) mod deny;
mod enforcer;
mod gate;
pub(crate) mod ima;
pub(crate) mod rate_limit;
mod set;
mod signal;
pub(crate) mod stack;
pub(crate) mod track;

use crate::Error;
use crate::emit::map::{control, counter};
use crate::emit::section::{Role, Section};
use crate::emit::{Emitter, map};
use crate::plan::{Denial, Source};
use ebpf::{AtomicOp, Block, Cond, Operand, Size, Value};
use policy::checked::{Action, Placed, Selector};

/// What is done about a match, apart from the event.
pub(crate) fn actions(selector: &Selector, role: Role, returns: bool) -> Vec<&Placed<Action>> {
    let entry = selector.actions.iter().filter(|_| role != Role::Return);
    let end = role == Role::Return || role == Role::Whole && returns;
    entry.chain(selector.return_actions.iter().filter(|_| end)).collect()
}

/// Whether a hook has to act before the call that it is about takes effect, so that it cannot wait for
/// the return to see all at once.
pub(crate) fn at_entry(selectors: &[Selector]) -> bool {
    let actions = selectors.iter().flat_map(|selector| &selector.actions);
    actions
        .map(|action| &action.value)
        .any(|action| !matches!(action, Action::Post(_) | Action::NoPost))
}

/// Whether a section decides about calls.
pub(crate) fn decides(section: &Section) -> bool {
    match section.role {
        Role::Gate(_) | Role::Measure => true,
        Role::Whole | Role::Entry | Role::Enforce => {
            matches!(section.hook.denial, Some(Denial::Result | Denial::Modify))
        }
        Role::Return | Role::Unmark | Role::Replace => false,
    }
}

/// Whether events of a selector are not sent.
fn is_silent(selector: &Selector) -> bool {
    let mut actions = selector.actions.iter().chain(&selector.return_actions);
    actions.any(|action| action.value == Action::NoPost)
}

impl Emitter<'_> {
    /// Does what the selectors say, except for events. `number`: 1 + the selector that matched, 0 for
    /// none; where the return is awaited, the set of selectors that may match (bit n for selector n), of
    /// which the first acts.
    pub(crate) fn act(&mut self, section: &Section, number: Value) -> Result<(), Error> {
        let hook = section.hook.clone();
        let acts = |selector: &Selector| {
            let actions = actions(selector, section.role, hook.returned.is_some());
            actions.iter().any(|action| emitted(&action.value))
        };
        if !hook.selectors.iter().any(acts) {
            return Ok(());
        }
        for action in hook.selectors.iter().flat_map(|selector| &selector.actions) {
            if let Action::Set { argument, .. } = action.value
                && let Some(Source::Operand(operand)) = hook.args.get(argument).map(|at| &at.source)
            {
                self.keep_before_set(operand);
            }
        }
        let done = self.b.create_block();
        for (index, selector) in hook.selectors.iter().enumerate() {
            let actions = actions(selector, section.role, hook.returned.is_some());
            let (mine, other) = (self.b.create_block(), self.b.create_block());
            self.is_selector(section.role, number, index, mine, other);
            self.b.switch_to(mine);
            let counted = self.b.iconst(index as i64 + 1);
            for action in actions {
                self.at(&action.place);
                self.one(section, counted, &action.value)?;
            }
            self.b.jump(done, &[]);
            self.b.switch_to(other);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }

    /// Goes to `mine` when this selector is the one.
    pub(crate) fn is_selector(
        &mut self,
        role: Role,
        number: Value,
        index: usize,
        mine: Block,
        other: Block,
    ) {
        if role == Role::Entry {
            let bit = self.b.iconst(1 << index);
            let bit = self.b.and(number, bit);
            self.b.brif(Cond::Ne, bit, 0, mine, other);
        } else {
            self.b.brif(Cond::Eq, number, index as i32 + 1, mine, other);
        }
    }

    fn one(&mut self, section: &Section, selector: Value, action: &Action) -> Result<(), Error> {
        match action {
            Action::Sigkill => self.signal(section, selector, SIGKILL),
            Action::Signal(signal) => self.signal(section, selector, *signal),
            Action::Override(error) => match &section.hook.denial {
                Some(Denial::Result | Denial::Modify) => self.deny(section, selector, *error),
                Some(Denial::OverrideReturn) => self.mark(section, selector, *error)?,
                Some(Denial::Gates(_)) => self.mark(section, selector, gate::errno(*error))?,
                Some(Denial::Impossible(_)) | None => {}
            },
            Action::NotifyEnforcer { error, signal } => {
                self.notify(section, selector, (*error, *signal))?;
            }
            Action::CleanupEnforcerNotification => self.take_back(section),
            Action::Set { argument, value } => self.set(section, selector, *argument, *value),
            Action::TrackSock(at) | Action::UntrackSock(at) => {
                if let Some(input) = section.hook.clone().args.get(*at) {
                    let track = matches!(action, Action::TrackSock(_));
                    self.track(section, selector, input, track)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Goes to `silent` where the selector's events are not sent, which is counted; `selector` as in
    /// records.
    pub(crate) fn unless_silent(&mut self, section: &Section, selector: Value, silent: Block) {
        let hook = section.hook.clone();
        for (index, _) in hook.selectors.iter().enumerate().filter(|(_, one)| is_silent(one)) {
            let (mine, other) = (self.b.create_block(), self.b.create_block());
            self.b.brif(Cond::Eq, selector, index as i32 + 1, mine, other);
            self.b.switch_to(mine);
            self.count_of(selector, counter::SILENT);
            self.b.jump(silent, &[]);
            self.b.switch_to(other);
        }
    }

    /// Goes to `yes` when the policy's actions are to take effect, to `no` when they are only counted.
    pub(crate) fn enforced(&mut self, section: &Section, yes: Block, no: Block) {
        let b = &mut self.b;
        let modes = b.map_value(self.maps.control, control::MODES);
        let offset = b.iconst(4 * i64::from(section.mode));
        // What sections differ in becomes a number that the verifier does not know.
        let offset = b.and(offset, control::MODES_SIZE as i32 - 4);
        let word = b.add(modes, offset);
        let mode = b.load(Size::U32, word, 0);
        b.brif(Cond::Eq, mode, map::mode::ENFORCE, yes, no);
    }

    /// Adds one to a counter of the selector that matched; `selector` as in records.
    pub(crate) fn count_of(&mut self, selector: impl Into<Operand>, counter: i16) {
        let b = &mut self.b;
        let first = b.iconst(i64::from(self.index));
        let index = b.add(first, selector);
        let key = b.temporary(4, 4);
        b.slot_store(Size::U32, key, 0, index);
        let counters = b.map(self.maps.counters);
        let key = b.slot_addr(key, 0);
        let value = b.call(crate::helper::MAP_LOOKUP_ELEM, &[counters, key]);
        crate::flow::when(b, Cond::Ne, value, 0, |b| {
            b.atomic(AtomicOp::Add, Size::U64, value, counter, 1);
        });
        debug_assert!(counter < counter::SIZE);
    }
}

/// Signal 9.
const SIGKILL: u8 = 9;

/// Whether an action makes instructions of its own.
fn emitted(action: &Action) -> bool {
    matches!(
        action,
        Action::Sigkill
            | Action::Signal(_)
            | Action::Override(_)
            | Action::NotifyEnforcer { .. }
            | Action::CleanupEnforcerNotification
            | Action::Set { .. }
            | Action::TrackSock(_)
            | Action::UntrackSock(_)
    )
}
