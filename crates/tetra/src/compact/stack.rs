//! Stacks, below the line of their event.

use api::tetragon::StackTraceEntry;
use api::tetragon::get_events_response::Event;

use super::style::{Colour, Style, quoted};

/// Writes the stacks of an event, if it has some.
pub(super) fn write(out: &mut String, style: Style, event: &Event) {
    let Some((kernel, user)) = of(event) else { return };
    let address = |address: u64| style.paint(Colour::Green, &format!("   0x{address:x}:"));
    let symbol =
        |frame: &StackTraceEntry| style.paint(Colour::Blue, &format!(" {}", quoted(&frame.symbol)));
    let place = |text: &str| style.paint(Colour::Yellow, text);
    if !kernel.is_empty() {
        out.push_str("Kernel:\n");
    }
    for frame in kernel {
        out.push_str(&address(frame.address));
        if frame.symbol.is_empty() {
            out.push_str(&place(UNKNOWN));
            continue;
        }
        out.push_str(&symbol(frame));
        out.push('+');
        let module = match frame.module.as_str() {
            "" => String::new(),
            module => format!(" [{}]", quoted(module)),
        };
        out.push_str(&place(&format!("0x{:x}{module}\n", frame.offset)));
    }
    if !user.is_empty() {
        out.push_str("User:\n");
    }
    for frame in user {
        out.push_str(&address(frame.address));
        if frame.symbol.is_empty() && frame.module.is_empty() {
            out.push_str(&place(UNKNOWN));
            continue;
        }
        if !frame.symbol.is_empty() {
            out.push_str(&symbol(frame));
        }
        out.push_str(&place(&format!(" ({}+0x{:x})\n", quoted(&frame.module), frame.offset)));
    }
}

/// What stands for a frame of which nothing is known.
const UNKNOWN: &str = " ?\n";

/// Stacks of the kernel and of the program, where events of that kind have them.
pub(crate) fn of(event: &Event) -> Option<(&[StackTraceEntry], &[StackTraceEntry])> {
    Some(match event {
        Event::ProcessKprobe(hit) => (&hit.kernel_stack_trace, &hit.user_stack_trace),
        Event::ProcessTracepoint(hit) => (&hit.kernel_stack_trace, &hit.user_stack_trace),
        Event::ProcessUprobe(hit) => (&hit.kernel_stack_trace, &hit.user_stack_trace),
        Event::ProcessUsdt(hit) => (&hit.kernel_stack_trace, &hit.user_stack_trace),
        _ => return None,
    })
}
