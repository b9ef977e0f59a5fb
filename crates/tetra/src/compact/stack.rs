//! Stacks, below the line of their event.

use api::tetragon::ProcessKprobe;

use super::style::{Colour, Style, quoted};

pub(super) fn write(out: &mut String, style: Style, call: &ProcessKprobe) {
    let mut put = |text: &str| out.push_str(text);
    let address = |address: u64| style.paint(Colour::Green, &format!("   0x{address:x}:"));
    if !call.kernel_stack_trace.is_empty() {
        put("Kernel:\n");
    }
    for frame in &call.kernel_stack_trace {
        put(&address(frame.address));
        put(&style.paint(Colour::Blue, &format!(" {}", quoted(&frame.symbol))));
        put("+");
        put(&style.paint(Colour::Yellow, &format!("0x{:x}\n", frame.offset)));
    }
    if !call.user_stack_trace.is_empty() {
        put("User:\n");
    }
    for frame in &call.user_stack_trace {
        put(&address(frame.address));
        if !frame.symbol.is_empty() {
            put(&style.paint(Colour::Blue, &format!(" {}", quoted(&frame.symbol))));
        }
        let place = format!(" ({}+0x{:x})\n", quoted(&frame.module), frame.offset);
        put(&style.paint(Colour::Yellow, &place));
    }
}
