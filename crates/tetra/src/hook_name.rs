//! What to call the hook that an event comes from.

use api::tetragon::get_events_response::Event;

/// Kind and name, such as `kprobe tcp_connect`; nothing for events that no policy made.
pub(crate) fn hook_name(event: &Event) -> Option<String> {
    Some(match event {
        Event::ProcessKprobe(hit) => format!("kprobe {}", hit.function_name),
        Event::ProcessTracepoint(hit) => format!("tracepoint {}/{}", hit.subsys, hit.event),
        Event::ProcessLsm(hit) => format!("lsm {}", hit.function_name),
        Event::ProcessUprobe(hit) => format!("uprobe {} {}", hit.path, hit.symbol),
        Event::ProcessUsdt(hit) => format!("usdt {} {}/{}", hit.path, hit.provider, hit.name),
        _ => return None,
    })
}
