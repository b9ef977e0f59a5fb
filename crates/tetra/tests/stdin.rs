//! `tetra getevents` with events on standard input, and mistakes on the command line.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

mod fake;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use fake::{outcome, run, tetra};

/// Runs `tetra` with `input` on its standard input.
fn feed(args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = tetra(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let result = outcome(child.wait_with_output().unwrap());
    let _ = writer.join().unwrap();
    result
}

fn event(binary: &str) -> String {
    format!(
        "{{\"process_exec\":{{\"process\":{{\"binary\":\"{binary}\"}}}},\"node_name\":\"n\"}}\n"
    )
}

const COMPACT: [&str; 3] = ["getevents", "-o", "compact"];

#[test]
fn events_are_printed() {
    let input = event("/bin/a") + "\n" + event("/bin/b").trim_end();
    let expected = "🚀 process n /bin/a \n🚀 process n /bin/b \n";
    assert_eq!(feed(&COMPACT, input.as_bytes()), (Some(0), expected.into(), String::new()));
    assert_eq!(feed(&COMPACT, b""), (Some(0), String::new(), String::new()));
    let (code, text, _) = feed(&["getevents"], input.as_bytes());
    assert_eq!(code, Some(0));
    assert_eq!(text, event("/bin/a") + &event("/bin/b"));
}

#[test]
fn what_is_no_event_is_passed_over() {
    let mut input = event("/bin/a").into_bytes();
    input.extend(b"not JSON\n\xff\xfe\n{\"process_exec\": 7}\n");
    input.extend(b"{\"from_the_future\":{}}\n");
    input.extend(event("/bin/b").bytes());
    let (code, text, error) = feed(&COMPACT, &input);
    assert_eq!(code, Some(0));
    assert_eq!(text, "🚀 process n /bin/a \n🚀 process n /bin/b \n");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    for (line, start) in lines.iter().zip(["line 2 left out", "line 3 left out", "line 4 left out"])
    {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(lines[3].contains("does not know"), "{error}");
}

#[test]
fn lines_that_are_too_long_are_passed_over() {
    let long = event(&"x".repeat(1 << 20));
    let input = event("/bin/a") + &long + &event("/bin/b");
    let mut args = COMPACT.to_vec();
    args.extend(["--max-recv-size", "1000"]);
    let (code, text, error) = feed(&args, input.as_bytes());
    assert_eq!(code, Some(0));
    assert_eq!(text, "🚀 process n /bin/a \n🚀 process n /bin/b \n");
    let expected = format!(
        "line 2 left out: its {} bytes are more than --max-recv-size 1000\n",
        long.len() - 1
    );
    assert_eq!(error, expected);
    // At the limit, and without it.
    let (_, text, error) = feed(&COMPACT, long.as_bytes());
    assert_eq!((text.len() > 1 << 20, error.as_str()), (true, ""));
    let size = (event("/bin/a").len() - 1).to_string();
    let (_, text, _) = feed(&["getevents", "--max-recv-size", &size], event("/bin/a").as_bytes());
    assert_eq!(text, event("/bin/a"));
}

#[test]
fn each_event_shows_at_once() {
    let mut child = tetra(&COMPACT).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for binary in ["/bin/a", "/bin/b"] {
        stdin.write_all(event(binary).as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, format!("🚀 process n {binary} \n"));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = tetra(&COMPACT).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Until the pipe breaks: tetra is gone then.
    while stdin.write_all(event("/bin/a").as_bytes()).is_ok() {}
    assert_eq!(outcome(child.wait_with_output().unwrap()), (Some(0), "".into(), "".into()));
}

#[test]
fn selection() {
    let exit = "{\"process_exit\":{\"process\":{\"binary\":\"/bin/b\"}},\"node_name\":\"n\"}\n";
    let input = event("/bin/a") + exit;
    let mut args = COMPACT.to_vec();
    args.extend(["-e", "PROCESS_EXIT"]);
    let (_, text, _) = feed(&args, input.as_bytes());
    assert_eq!(text, "💥 exit    n /bin/b  0\n");
    let select = |flags: &[&str]| {
        let mut args = vec!["getevents"];
        args.extend(flags);
        let (code, text, error) = feed(&args, input.as_bytes());
        assert_eq!((code, error.as_str()), (Some(0), ""));
        text
    };
    assert_eq!(select(&["--process", "b$"]), exit);
    assert_eq!(
        select(&["--host", "--cel-expression", "process_exit.process.binary == '/bin/b'"]),
        exit
    );
    assert_eq!(select(&["--pod", "web"]), "");
    let fields = select(&["-e", "PROCESS_EXIT", "-F", "process.binary"]);
    assert_eq!(fields, "{\"process_exit\":{\"process\":{}},\"node_name\":\"n\"}\n");
    args.extend(["--process", "("]);
    let (code, text, error) = feed(&args, input.as_bytes());
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(
        error.contains("allow_list: filter 1: binary_regex: regular expression \"(\":"),
        "{error}"
    );
}

#[test]
fn terminal_bytes() {
    let write = |path: &str, bytes: &str| {
        format!(
            "{{\"process_kprobe\":{{\"function_name\":\"tty_write\",\"args\":[\
             {{\"file_arg\":{{\"path\":\"{path}\"}}}},{{\"bytes_arg\":\"{bytes}\"}}]}}}}\n"
        )
    };
    let input = write("/dev/pts/0", "AP8=") + &write("/dev/pts/1", "AAAA") + &event("/bin/a");
    let mut child =
        tetra(&["getevents", "-t", "/dev/pts/0"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), vec![0, 0xff]));
}

#[test]
fn colours_when_asked() {
    let mut args = COMPACT.to_vec();
    args.push("--color=always");
    let (_, text, _) = feed(&args, event("/bin/a").as_bytes());
    assert!(text.starts_with("\x1b[34m🚀 process\x1b[0m "), "{text}");
}

#[test]
fn mistakes_on_the_command_line() {
    for (args, part) in [
        (&["getevents", "--colour"][..], "--color"),
        (&["getevents", "-e", "PROCESS_EXE"], "did you mean PROCESS_EXEC?"),
        (&["getevents", "-o", "xml"], "json, compact"),
        (&["getevens"], "getevents"),
        (&["status", "--timeout", "soon"], "not a duration"),
        (&["status", "--server-address", "nowhere"], "HOST:PORT or unix:///PATH"),
    ] {
        let (code, text, error) = run(tetra(args));
        assert_eq!((code, text.as_str()), (Some(1), ""), "{args:?}");
        assert!(error.starts_with("Error: ") && error.contains(part), "{args:?}: {error}");
        assert!(!error.contains("Usage"), "{args:?}: {error}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    for args in [&[][..], &["--help"], &["loglevel"], &["help", "getevents"]] {
        let (code, text, error) = run(tetra(args));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{args:?}");
        assert!(text.contains("Usage: tetra"), "{args:?}: {text}");
    }
    let (_, text, _) = run(tetra(&[]));
    assert!(text.contains("getevents") && !text.contains("\n  debug "), "{text}");
}

#[test]
fn completion() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, text, _) = run(tetra(&["completion", shell]));
        assert_eq!(code, Some(0));
        assert!(text.contains("getevents"), "{shell}");
    }
    assert_eq!(run(tetra(&["completion", "ksh"])).0, Some(1));
}

#[test]
fn without_standard_input_the_agent_is_asked() {
    let mut command = std::process::Command::new("/bin/sh");
    let script = "exec \"$0\" getevents --retries=0 --server-address unix:///nonexistent <&-";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tetra")]);
    let (code, text, error) = run(command);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(error.contains("no agent listens at unix:///nonexistent"), "{error}");
}
