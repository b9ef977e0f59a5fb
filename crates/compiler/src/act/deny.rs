//! Override where the result of the program decides about the call: LSM hooks. The operation does not
//! happen, and its caller gets the error.
//!
//! Of several policies that deny, the first one's error counts. From Linux 6.12 on the verifier wants the
//! result in [-4095, 0], which is seen from the number itself.

use crate::emit::Emitter;
use crate::emit::map::counter;
use crate::emit::section::Section;
use ebpf::Value;

/// The most that an error can be (`MAX_ERRNO`).
const ERROR_MAX: i32 = 4095;

impl Emitter<'_> {
    /// Lets the program's result be this error, or counts that it would be. What is no error becomes
    /// -1 (EPERM).
    pub(super) fn deny(&mut self, section: &Section, selector: Value, error: i32) {
        let error = if (-ERROR_MAX..=0).contains(&error) { error } else { -1 };
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
