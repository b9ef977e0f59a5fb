//! Stacks of which the common parts are counted together.

use std::collections::BTreeMap;
use std::fmt::Write;

use api::tetragon::get_events_response::Event;
use api::tetragon::{GetEventsResponse, StackTraceEntry};

use super::{Form, Which};
use crate::compact::{quoted, stacks};
use crate::getevents::Collect;
use crate::hook_name::hook_name;

/// Functions in all; further stacks are only counted.
const NODES_MAX: usize = 200_000;

/// A function, as it was come by.
#[derive(Debug, Default)]
struct Node {
    /// Events that it is on a stack of.
    count: u64,
    /// Those whose stack ends here.
    ends: u64,
    below: BTreeMap<String, Node>,
}

/// Stacks of events.
#[derive(Debug)]
pub(crate) struct Tree {
    which: Which,
    callers: bool,
    root: Node,
    nodes: usize,
    /// Events whose stacks had no room.
    left_out: u64,
    /// Events that had none.
    without: u64,
}

impl Tree {
    /// An empty one. `callers`: innermost functions first.
    pub(crate) fn new(which: Which, callers: bool) -> Self {
        Self { which, callers, root: Node::default(), nodes: 0, left_out: 0, without: 0 }
    }
}

impl Collect for Tree {
    /// Adds the stack of an event.
    fn add(&mut self, event: &GetEventsResponse) {
        let Some(body) = &event.event else { return };
        let Some((kernel, user)) = stacks(body) else { return };
        // Innermost first, as events have them.
        let mut frames = vec![hook(body)];
        if self.which != Which::User {
            frames.extend(kernel.iter().map(kernel_frame));
        }
        if self.which != Which::Kernel {
            frames.extend(user.iter().map(user_frame));
        }
        if frames.len() == 1 {
            self.without += 1;
            return;
        }
        if self.nodes + frames.len() > NODES_MAX {
            self.left_out += 1;
            return;
        }
        if !self.callers {
            frames.reverse();
        }
        self.root.count += 1;
        let mut node = &mut self.root;
        for frame in frames {
            node = node.below.entry(frame).or_insert_with(|| {
                self.nodes += 1;
                Node::default()
            });
            node.count += 1;
        }
        node.ends += 1;
    }
}

impl Tree {
    /// The tree as text.
    pub(crate) fn print(&self, form: Form) -> String {
        let mut out = String::new();
        match form {
            Form::Folded => folded(&mut out, &self.root, &mut Vec::new()),
            Form::Tree => {
                let _ = writeln!(out, "{} stacks", self.root.count);
                branches(&mut out, &self.root, "");
            }
        }
        if form == Form::Tree && self.without > 0 {
            let _ = writeln!(out, "{} events had none", self.without);
        }
        if self.left_out > 0 {
            let text = format!(
                "{} more stacks are left out: there are too many different ones",
                self.left_out
            );
            crate::output::complain(&text);
        }
        out
    }
}

/// Prints what is below a function; most frequent first. A function with one below it, and no end of its
/// own, is in one column with that.
fn branches(out: &mut String, node: &Node, indent: &str) {
    let mut below: Vec<(&String, &Node)> = node.below.iter().collect();
    below.sort_by_key(|(name, node)| (std::cmp::Reverse(node.count), *name));
    let last = below.len();
    for (index, (name, mut node)) in below.into_iter().enumerate() {
        let (corner, rail) =
            if index + 1 == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let count = node.count.to_string();
        let _ = writeln!(out, "{indent}{corner}{count} {name}");
        let column = format!("{indent}{rail}{:1$} ", "", count.len());
        while node.ends == 0 && node.below.len() == 1 {
            let Some((name, only)) = node.below.first_key_value() else { break };
            let _ = writeln!(out, "{column}{name}");
            node = only;
        }
        branches(out, node, &column);
    }
}

fn folded<'n>(out: &mut String, node: &'n Node, way: &mut Vec<&'n str>) {
    if node.ends > 0 {
        let _ = writeln!(out, "{} {}", way.join(";"), node.ends);
    }
    for (name, below) in &node.below {
        way.push(name);
        folded(out, below, way);
        way.pop();
    }
}

/// Where it was seen, as the innermost frame.
fn hook(event: &Event) -> String {
    hook_name(event).map_or_else(String::new, |name| one_line(&format!("[{name}]")))
}

fn kernel_frame(frame: &StackTraceEntry) -> String {
    match frame.symbol.as_str() {
        "" => unknown(frame),
        symbol => one_line(symbol),
    }
}

fn user_frame(frame: &StackTraceEntry) -> String {
    match (frame.symbol.as_str(), frame.module.as_str()) {
        ("", "") => unknown(frame),
        ("", module) => one_line(&format!("{module}+0x{:x}", frame.offset)),
        (symbol, module) => one_line(&format!("{symbol} ({module})")),
    }
}

fn unknown(frame: &StackTraceEntry) -> String {
    match frame.address {
        0 => "?".to_owned(),
        address => format!("0x{address:x}"),
    }
}

/// Names cannot forge lines, nor end a function in folded stacks.
fn one_line(name: &str) -> String {
    let plain = name.chars().all(|letter| !letter.is_control());
    let name = if plain { name.to_owned() } else { quoted(name).into_owned() };
    name.replace(';', ":")
}

#[cfg(test)]
mod tests {
    use api::tetragon::{ProcessKprobe, ProcessUprobe};

    use super::*;

    fn frames(names: &[&str], module: &str) -> Vec<StackTraceEntry> {
        let frame = |name: &&str| StackTraceEntry {
            symbol: (*name).to_owned(),
            module: module.to_owned(),
            offset: 16,
            address: 0,
        };
        names.iter().map(frame).collect()
    }

    fn call(kernel: &[&str], user: &[&str]) -> GetEventsResponse {
        let event = ProcessKprobe {
            function_name: "f".to_owned(),
            kernel_stack_trace: frames(kernel, ""),
            user_stack_trace: frames(user, "/bin/a"),
            ..ProcessKprobe::default()
        };
        GetEventsResponse { event: Some(Event::ProcessKprobe(event)), ..Default::default() }
    }

    fn tree(which: Which, callers: bool) -> Tree {
        let mut tree = Tree::new(which, callers);
        tree.add(&call(&["read", "entry"], &["", "main"]));
        tree.add(&call(&["read", "entry"], &["", "main"]));
        tree.add(&call(&["write", "entry"], &["put;\n", "main"]));
        tree.add(&call(&[], &[]));
        let probe =
            ProcessUprobe { path: "/bin/a".into(), symbol: "g".into(), ..Default::default() };
        let event = Some(Event::ProcessUprobe(probe));
        tree.add(&GetEventsResponse { event, ..Default::default() });
        tree
    }

    #[test]
    fn common_parts_are_one() {
        let expected = "\
3 stacks
└─ 3 main (/bin/a)
     ├─ 2 /bin/a+0x10
     │    entry
     │    read
     │    [kprobe f]
     └─ 1 \"put:\\n (/bin/a)\"
          entry
          write
          [kprobe f]
2 events had none
";
        assert_eq!(tree(Which::Both, false).print(Form::Tree), expected);
        let callers = "\
3 stacks
└─ 3 [kprobe f]
     ├─ 2 read
     │    entry
     └─ 1 write
          entry
2 events had none
";
        assert_eq!(tree(Which::Kernel, true).print(Form::Tree), callers);
    }

    #[test]
    fn stacks_on_lines() {
        let expected = "main (/bin/a);\"put:\\n (/bin/a)\";[kprobe f] 1\nmain (/bin/a);/bin/a+0x10;[kprobe f] 2\n";
        assert_eq!(tree(Which::User, false).print(Form::Folded), expected);
        assert_eq!(Tree::new(Which::Both, false).print(Form::Folded), "");
        assert_eq!(Tree::new(Which::Both, false).print(Form::Tree), "0 stacks\n");
    }

    #[test]
    fn the_tree_is_bounded() {
        let mut tree = Tree::new(Which::Kernel, false);
        for number in 0..NODES_MAX {
            tree.add(&call(&[&number.to_string()], &[]));
        }
        assert!(tree.nodes <= NODES_MAX && tree.left_out > 0);
        assert_eq!(tree.root.count + tree.left_out, NODES_MAX as u64);
    }
}
