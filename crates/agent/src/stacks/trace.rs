//! A stack on its way from its addresses to its names.

use std::sync::{Arc, OnceLock};

use api::tetragon as wire;
use compiler::observed::Stacks;
use wire::StackTraceEntry;
use wire::get_events_response::Event;

/// Frames as events have them, innermost first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frames {
    /// Of the kernel.
    pub kernel: Vec<StackTraceEntry>,
    /// Of the program.
    pub user: Vec<StackTraceEntry>,
}

/// The stacks of one event, which another thread finds the names of.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    addresses: Stacks,
    /// Whether addresses may be told.
    expose: bool,
    named: OnceLock<Frames>,
}

impl Trace {
    /// Stacks without names yet.
    pub fn new(addresses: Stacks, expose: bool) -> Self {
        Self(Arc::new(Inner { addresses, expose, named: OnceLock::new() }))
    }

    /// Its addresses.
    pub fn addresses(&self) -> &Stacks {
        &self.0.addresses
    }

    /// Gives it its names, once; addresses in them are dropped where they may not be told.
    pub fn name(&self, mut frames: Frames) {
        if !self.0.expose {
            let all = frames.kernel.iter_mut().chain(&mut frames.user);
            all.for_each(|frame| frame.address = 0);
        }
        // Whoever was first has said what there is to say.
        let _ = self.0.named.set(frames);
    }

    /// Settles for what is known without any names.
    pub fn give_up(&self) {
        let bare = |addresses: &[u64]| addresses.iter().map(|address| unnamed(*address)).collect();
        let Stacks { kernel, user, .. } = &self.0.addresses;
        self.name(Frames { kernel: bare(kernel), user: bare(user) });
    }

    /// Whether its names are known.
    pub fn is_named(&self) -> bool {
        self.0.named.get().is_some()
    }

    /// Puts the frames into their event.
    pub fn put_into(&self, event: &mut Event) {
        let Some(Frames { kernel, user }) = self.0.named.get().cloned() else { return };
        let (to_kernel, to_user) = match event {
            Event::ProcessKprobe(event) => {
                (&mut event.kernel_stack_trace, &mut event.user_stack_trace)
            }
            Event::ProcessTracepoint(event) => {
                (&mut event.kernel_stack_trace, &mut event.user_stack_trace)
            }
            Event::ProcessUprobe(event) => {
                (&mut event.kernel_stack_trace, &mut event.user_stack_trace)
            }
            Event::ProcessUsdt(event) => {
                (&mut event.kernel_stack_trace, &mut event.user_stack_trace)
            }
            _ => return,
        };
        *to_kernel = kernel;
        *to_user = user;
    }
}

/// A frame of which only the address is known.
pub(super) fn unnamed(address: u64) -> StackTraceEntry {
    StackTraceEntry { address, ..StackTraceEntry::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(address: u64) -> Frames {
        let frame = StackTraceEntry { symbol: "a".into(), offset: 3, ..unnamed(address) };
        Frames { kernel: vec![frame.clone()], user: vec![frame] }
    }

    #[test]
    fn addresses_are_told_only_where_they_may_be() {
        for (expose, address) in [(false, 0), (true, 77)] {
            let trace =
                Trace::new(Stacks { kernel: vec![77], user: vec![77], files: Vec::new() }, expose);
            assert!(!trace.is_named());
            trace.clone().name(frames(77));
            assert!(trace.is_named());
            let mut event = Event::ProcessUprobe(wire::ProcessUprobe::default());
            trace.put_into(&mut event);
            let Event::ProcessUprobe(event) = event else { panic!() };
            assert_eq!(event.kernel_stack_trace, frames(address).kernel);
            assert_eq!(event.user_stack_trace, frames(address).user);
        }
    }

    #[test]
    fn what_was_given_up_has_no_names_any_more() {
        let trace = Trace::new(Stacks { kernel: vec![77], ..Stacks::default() }, true);
        trace.give_up();
        trace.name(frames(77));
        let mut event = Event::ProcessKprobe(wire::ProcessKprobe::default());
        trace.put_into(&mut event);
        let Event::ProcessKprobe(event) = event else { panic!() };
        assert_eq!((event.kernel_stack_trace, event.user_stack_trace), (vec![unnamed(77)], vec![]));
    }
}
