//! The line of lost events. Not an event of a process, but a gap in the stream.

use api::tetragon::EventsLost;

use super::style::{Colour, Style, quoted, quoted_words, tag};

pub(super) fn line(style: Style, node: &str, lost: &EventsLost) -> String {
    let noun = if lost.count == 1 { "event" } else { "events" };
    format!(
        "{} {} {} {}",
        tag(style, Colour::Blue, "⚠️", "lost"),
        style.paint(Colour::Green, &quoted(node)),
        style.paint(Colour::Red, &format!("{} {noun}", lost.count)),
        style.paint(Colour::Cyan, &quoted_words(&lost.cause)),
    )
}
