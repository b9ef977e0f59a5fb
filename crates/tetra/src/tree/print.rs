//! The tree as text and as JSON.

use std::collections::HashSet;

use api::google::Timestamp;
use serde_json::{Value, json};

use super::Choice;
use crate::compact::quoted_words;
use crate::error::Error;
use crate::processes::{Image, Processes};
use crate::table;

const HEAD: [&str; 6] = ["PID", "START", "LASTED", "END", "SEEN", "COMMAND"];

/// A table with a line for each process, the last column as a tree. Lines are cut at the width.
pub(super) fn text(all: &Processes, choice: &Choice, width: Option<usize>) -> String {
    let shown = shown(all, choice);
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let take = |ids: Vec<&str>| -> Vec<String> {
        ids.into_iter().filter(|id| shown.contains(*id)).map(str::to_owned).collect()
    };
    // With what comes before the process itself, and before those below it.
    let roots = take(all.roots()).into_iter().rev();
    let mut open: Vec<_> = roots.map(|id| (id, String::new(), String::new())).collect();
    while let Some((id, own, rail)) = open.pop() {
        let Some(image) = all.get(&id) else { continue };
        rows.push(row(image, &own));
        let below = take(all.below(&id));
        let last = below.len();
        for (index, id) in below.into_iter().enumerate().rev() {
            let (corner, more) =
                if index + 1 == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            open.push((id, format!("{rail}{corner}"), format!("{rail}{more}")));
        }
    }
    let cut = |line: String| match width {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line,
    };
    table::lines(&rows).into_iter().map(|line| cut(line) + "\n").collect()
}

/// An array of those at the top.
pub(super) fn json(all: &Processes, choice: &Choice) -> Result<String, Error> {
    let shown = shown(all, choice);
    let mut done: Vec<(String, Value)> = Vec::new();
    // Each after those below it. Deep chains need no deep stack.
    let mut open: Vec<(String, bool)> =
        all.roots().into_iter().rev().map(|id| (id.to_owned(), false)).collect();
    while let Some((id, opened)) = open.pop() {
        let Some(image) = all.get(&id).filter(|_| shown.contains(id.as_str())) else { continue };
        let below: Vec<&str> =
            all.below(&id).into_iter().filter(|id| shown.contains(*id)).collect();
        if !opened {
            open.push((id.clone(), true));
            open.extend(below.into_iter().rev().map(|id| (id.to_owned(), false)));
            continue;
        }
        let inside = done.split_off(done.len().saturating_sub(below.len()));
        let inside = inside.into_iter().map(|(_, value)| value).collect();
        done.push((id.clone(), object(&id, image, inside)));
    }
    let roots: Vec<Value> = done.into_iter().map(|(_, value)| value).collect();
    Ok(serde_json::to_string(&roots)? + "\n")
}

fn object(id: &str, image: &Image, children: Vec<Value>) -> Value {
    let mut object = json!({
        "exec_id": id,
        "pid": image.pid,
        "binary": image.binary,
        "arguments": image.arguments,
    });
    if let Value::Object(object) = &mut object {
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        if !image.workload.is_empty() {
            put("workload", json!(image.workload));
        }
        if let Some(time) = image.started {
            put("start_time", json!(time.to_string()));
        }
        if let Some(ended) = &image.ended {
            put("ended", json!(ended.how));
            if let Some(time) = ended.time {
                put("end_time", json!(time.to_string()));
            }
        }
        if !image.seen.is_empty() {
            put("events", json!(image.seen));
        }
        if !children.is_empty() {
            put("children", Value::Array(children));
        }
    }
    object
}

fn row(image: &Image, indent: &str) -> Vec<String> {
    let ended = image.ended.as_ref();
    let lasted = ended.and_then(|ended| ended.time).zip(image.started);
    let mut command = format!("{indent}{}", quoted_words(&image.binary));
    if !image.arguments.is_empty() {
        command.push(' ');
        command.push_str(&quoted_words(&image.arguments));
    }
    if !image.workload.is_empty() {
        command.push_str(&format!("  [{}]", quoted_words(&image.workload)));
    }
    let seen: Vec<String> =
        image.seen.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    vec![
        match image.pid {
            0 => "?".to_owned(),
            pid => pid.to_string(),
        },
        image.started.map_or_else(String::new, short),
        lasted.map_or_else(String::new, |(end, start)| span(start, end)),
        ended.map_or_else(String::new, |ended| quoted_words(&ended.how).into_owned()),
        seen.join(", "),
        command,
    ]
}

/// To the second: `2026-01-31 12:00:00`.
fn short(time: Timestamp) -> String {
    let whole = Timestamp { nanos: 0, ..time }.to_string();
    whole.trim_end_matches('Z').replace('T', " ")
}

/// `0.012s`, `3m07s`, `2h05m`.
fn span(start: Timestamp, end: Timestamp) -> String {
    let nanos = i128::from(end.seconds - start.seconds) * 1_000_000_000
        + i128::from(end.nanos - start.nanos);
    let millis = nanos.max(0) / 1_000_000;
    match millis / 1000 {
        seconds @ 0..60 => format!("{seconds}.{:03}s", millis % 1000),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Those that are chosen, what they descend from, and what they began.
fn shown<'a>(all: &'a Processes, choice: &Choice) -> HashSet<&'a str> {
    let by_name = !choice.pids.is_empty() || !choice.binaries.is_empty();
    let mut shown = HashSet::new();
    let mut open: Vec<(&str, bool)> = all.roots().into_iter().map(|id| (id, false)).collect();
    while let Some((id, mut chosen)) = open.pop() {
        let Some(image) = all.get(id) else { continue };
        chosen |= !by_name
            || choice.pids.contains(&image.pid)
            || choice.binaries.iter().any(|regex| regex.is_match(&image.binary));
        if chosen && ran_within(image, choice) {
            // Up to one that is shown already.
            let mut up = id;
            while shown.insert(up)
                && let Some(image) = all.get(up)
            {
                up = image.parent.as_str();
            }
        }
        open.extend(all.below(id).into_iter().map(|id| (id, chosen)));
    }
    shown
}

fn ran_within(image: &Image, choice: &Choice) -> bool {
    let order = |time: Timestamp| (time.seconds, time.nanos);
    let ended = image.ended.as_ref().and_then(|ended| ended.time);
    let too_early = ended.zip(choice.since).is_some_and(|(end, since)| order(end) < order(since));
    let too_late =
        image.started.zip(choice.until).is_some_and(|(start, until)| order(start) > order(until));
    !too_early && !too_late
}

#[cfg(test)]
mod tests {
    use api::tetragon::{GetEventsResponse, Process};
    use regex::Regex;

    use super::*;
    use crate::getevents::Collect;

    fn all() -> Processes {
        let mut all = Processes::default();
        let process = |id: &str, parent: &str, pid, binary: &str, seconds| Process {
            exec_id: id.to_owned(),
            parent_exec_id: parent.to_owned(),
            pid: Some(pid),
            binary: binary.to_owned(),
            start_time: Some(Timestamp { seconds, nanos: 0 }),
            ..Process::default()
        };
        all.add_process(&process("i", "", 1, "/sbin/init", 0));
        all.add_process(&process("s", "i", 10, "/bin/sh", 60));
        all.add_process(&process("c", "i", 11, "/sbin/cron", 60));
        let line = "{\"process_exit\":{\"process\":{\"exec_id\":\"l\",\"pid\":12,\
                    \"parent_exec_id\":\"s\",\"binary\":\"/bin/ls\",\"arguments\":\"-l \\u001b\",\
                    \"start_time\":\"1970-01-01T00:02:00Z\"},\"signal\":\"SIGKILL\",\
                    \"time\":\"1970-01-01T00:02:00.250Z\"}}";
        let event: GetEventsResponse = serde_json::from_str(line).unwrap();
        all.add(&event);
        let line = "{\"process_kprobe\":{\"process\":{\"exec_id\":\"l\",\"pid\":12}}}";
        let event: GetEventsResponse = serde_json::from_str(line).unwrap();
        all.add(&event);
        all.add(&event);
        all
    }

    #[test]
    fn who_began_whom() {
        let expected = "\
PID   START                 LASTED   END       SEEN       COMMAND
1     1970-01-01 00:00:00                                 /sbin/init
10    1970-01-01 00:01:00                                 ├─ /bin/sh
12    1970-01-01 00:02:00   0.250s   SIGKILL   2 kprobe   │  └─ /bin/ls \"-l \\x1b\"
11    1970-01-01 00:01:00                                 └─ /sbin/cron
";
        assert_eq!(text(&all(), &Choice::default(), None), expected);
        let narrow = text(&all(), &Choice::default(), Some(20));
        assert_eq!(narrow.lines().nth(1), Some("1     1970-01-01 00…"));
        let objects: Value =
            serde_json::from_str(&json(&all(), &Choice::default()).unwrap()).unwrap();
        assert_eq!(objects[0]["children"][0]["children"][0]["events"]["kprobe"], 2);
        assert_eq!(objects[0]["children"][1]["binary"], "/sbin/cron");
        assert_eq!(objects.as_array().unwrap().len(), 1);
    }

    #[test]
    fn those_that_are_chosen_with_their_ancestors() {
        let pids = |choice: &Choice| -> Vec<String> {
            let text = text(&all(), choice, None);
            let lines = text.lines().skip(1);
            lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let binaries = vec![Regex::new("sh$").unwrap()];
        assert_eq!(pids(&Choice { binaries, ..Choice::default() }), ["1", "10", "12"]);
        assert_eq!(pids(&Choice { pids: vec![11], ..Choice::default() }), ["1", "11"]);
        assert_eq!(pids(&Choice { pids: vec![99], ..Choice::default() }), [""; 0]);
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        assert_eq!(pids(&Choice { until: time(70), ..Choice::default() }), ["1", "10", "11"]);
        assert_eq!(pids(&Choice { since: time(130), ..Choice::default() }), ["1", "10", "11"]);
    }

    #[test]
    fn spans() {
        let time = |seconds| Timestamp { seconds, nanos: 0 };
        assert_eq!(span(time(0), time(187)), "3m07s");
        assert_eq!(span(time(0), time(7500)), "2h05m");
        assert_eq!(span(time(5), time(1)), "0.000s");
    }
}
