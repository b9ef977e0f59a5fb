//! Sigkill and Signal: `bpf_send_signal()` to the current process.
//!
//! A signal is acted on when the process next returns to user mode: a call that is under way goes on.
//! The kernel refuses to signal its own threads and pid 1 (`bpf_send_signal_common()` in
//! kernel/trace/bpf_trace.c); that is counted.

use crate::emit::Emitter;
use crate::emit::map::counter;
use crate::emit::section::Section;
use crate::helper;
use ebpf::{Cond, Value};

impl Emitter<'_> {
    /// Sends a signal, or counts that it would be sent.
    pub(super) fn signal(&mut self, section: &Section, selector: Value, signal: u8) {
        let [enforce, monitor, failed, sent, done] = [(); 5].map(|()| self.b.create_block());
        self.enforced(section, enforce, monitor);
        self.b.switch_to(enforce);
        let signal = self.b.iconst(signal.into());
        let result = self.b.call(helper::SEND_SIGNAL, &[signal]);
        self.b.brif(Cond::Ne, result, 0, failed, sent);
        for (block, counter) in
            [(monitor, counter::MONITOR_SIGNAL), (failed, counter::FAILED), (sent, counter::SIGNAL)]
        {
            self.b.switch_to(block);
            self.count_of(selector, counter);
            self.b.jump(done, &[]);
        }
        self.b.switch_to(done);
    }
}
