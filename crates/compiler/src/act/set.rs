//! Set: writes a number to an argument of a static probe that is in the process's memory.
//!
//! `bpf_probe_write_user()` does not wait for memory. The program is at the probe, where the compiler has
//! just put the argument: the page is there, unless it was taken from the process in between. That is counted.

use crate::emit::Emitter;
use crate::emit::map::counter;
use crate::emit::section::Section;
use crate::helper;
use crate::plan::Source;
use ebpf::{Cond, Size, Value};

impl Emitter<'_> {
    /// Writes to an argument, told by its position, or counts that it would be written.
    pub(super) fn set(&mut self, section: &Section, selector: Value, argument: usize, value: i32) {
        let hook = section.hook.clone();
        // The plan has seen to it that there is such an argument.
        let Some(Source::Operand(operand)) = hook.args.get(argument).map(|input| &input.source)
        else {
            return;
        };
        let [enforce, monitor, failed, written, done] = [(); 5].map(|()| self.b.create_block());
        self.enforced(section, enforce, monitor);
        self.b.switch_to(enforce);
        let address = self.operand_address(&operand.place);
        let number = self.b.temporary(4, 4);
        self.b.slot_store(Size::U32, number, 0, value);
        let from = self.b.slot_addr(number, 0);
        let size = self.b.iconst(4);
        let result = self.b.call(helper::PROBE_WRITE_USER, &[address, from, size]);
        self.b.brif(Cond::Ne, result, 0, failed, written);
        for (block, counter) in
            [(monitor, counter::MONITOR_SET), (failed, counter::FAILED), (written, counter::SET)]
        {
            self.b.switch_to(block);
            self.count_of(selector, counter);
            self.b.jump(done, &[]);
        }
        self.b.switch_to(done);
    }
}
