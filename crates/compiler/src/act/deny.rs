//! Override where the result of the program decides about the call: LSM hooks and fmod_ret. The operation does not
//! happen, and its caller gets the error.
//!
//! Of several policies that deny, the first one's error counts. From Linux 6.12 on the verifier wants the
//! result in [-4095, 0], which is seen from the number itself.

use super::gate;
use crate::emit::Emitter;
use crate::emit::map::counter;
use crate::emit::section::Section;
use ebpf::Value;

impl Emitter<'_> {
    /// Lets the program's result be this error, or counts that it would be. What is no error becomes
    /// -1 (EPERM).
    pub(super) fn deny(&mut self, section: &Section, selector: Value, error: i32) {
        let error = gate::errno(error);
        let [enforce, monitor, done] = [(); 3].map(|()| self.b.create_block());
        self.enforced(section, enforce, monitor);
        self.b.switch_to(enforce);
        if let Some(verdict) = self.verdict {
            let error = self.b.iconst(error.into());
            self.b.def(verdict, error);
        }
        self.count_of(selector, counter::OVERRIDE);
        self.b.jump(done, &[]);
        self.b.switch_to(monitor);
        self.count_of(selector, counter::MONITOR_OVERRIDE);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
    }
}
