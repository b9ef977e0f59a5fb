//! Looks at made-up events.

use std::time::Duration;

use api::tetragon::{
    ListTracingPoliciesResponse, TracingPolicyMode, TracingPolicyState, TracingPolicyStatus,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::rows::View;
use super::screen::{Next, Screen};
use super::state::State;
use super::text;
use crate::getevents::Collect;

fn add(state: &mut State, line: &str) {
    state.add(&serde_json::from_str(line).unwrap());
}

fn state() -> State {
    let mut state = State::default();
    let shell = r#""exec_id":"s","pid":10,"binary":"/bin/sh","start_time":"2026-01-31T12:00:00Z""#;
    let child =
        r#""exec_id":"l","pid":11,"parent_exec_id":"s","binary":"/bin/ls","arguments":"-l""#;
    add(&mut state, &format!(r#"{{"process_exec":{{"process":{{{shell}}}}}}}"#));
    add(&mut state, &format!(r#"{{"process_exec":{{"process":{{{child}}}}}}}"#));
    let call = r#""function_name":"security_file_open","policy_name":"files""#;
    for _ in 0..20 {
        add(&mut state, &format!(r#"{{"process_lsm":{{"process":{{{child}}},{call}}}}}"#));
    }
    let lost = r#"{"events_lost":{"ring":"observation","count":"7","cause":"ring full"}}"#;
    add(&mut state, lost);
    state.policies = ListTracingPoliciesResponse {
        policies: vec![
            TracingPolicyStatus {
                name: "files".into(),
                state: TracingPolicyState::TpStateEnabled.into(),
                mode: TracingPolicyMode::TpModeEnforce.into(),
                kernel_memory_bytes: 2_400_000,
                ..Default::default()
            },
            TracingPolicyStatus {
                name: "broken".into(),
                state: TracingPolicyState::TpStateLoadError.into(),
                ..Default::default()
            },
        ],
    }
    .policies;
    state.tick(Duration::from_secs(2));
    state
}

#[test]
fn looks_as_text() {
    let state = state();
    assert_eq!(
        text(View::Processes, &state),
        "events 11.0/s  lost 3.5/s  left out by rate limit 0.0/s\n\
         EVENTS/S   EVENTS   PID   COMMAND\n\
         10.5       21       11    /bin/ls -l\n\
         0.5        1        10    /bin/sh\n"
    );
    let hooks = text(View::Hooks, &state);
    assert!(hooks.ends_with("10.0       20       lsm security_file_open\n"), "{hooks}");
    let policies = text(View::Policies, &state);
    let lines: Vec<&str> = policies.lines().skip(2).collect();
    assert!(
        lines[0].starts_with("10.0       20       files    enabled      enforce"),
        "{policies}"
    );
    assert!(lines[1].starts_with("0.0        0        broken   LOAD_ERROR"), "{policies}");
    let types = text(View::Types, &state);
    assert!(types.contains("\n10.0       20       LSM\n"), "{types}");
    let tree = text(View::Tree, &state);
    assert!(tree.ends_with("10    /bin/sh\n10.5       21       11    └─ /bin/ls -l\n"), "{tree}");
}

/// What is on a screen of that size.
fn drawn(screen: &Screen, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

#[test]
fn a_screen_and_its_keys() {
    let state = state();
    let mut screen = Screen::new(View::Processes);
    screen.take(&state);
    let text = drawn(&screen, 80, 12);
    assert!(text.starts_with("Events 11.0/s, 22 in all\nLost 3.5/s, 7 in all\n"), "{text}");
    assert!(text.contains("observation: ring full 3.5/s"), "{text}");
    assert!(text.contains("10.5      21      11   /bin/ls -l"), "{text}");
    let mut press = |code| {
        let next = screen.key(KeyEvent::from(code));
        screen.refresh(&state);
        (next, drawn(&screen, 80, 12))
    };
    let (next, text) = press(KeyCode::Char('5'));
    assert_eq!(next, Next::Refresh);
    assert!(text.contains("└─ /bin/ls -l"), "{text}");
    let (_, text) = press(KeyCode::Left);
    assert!(!text.contains("/bin/ls") && text.contains("[+] /bin/sh"), "{text}");
    let (_, text) = press(KeyCode::Enter);
    assert!(text.contains("/bin/ls"), "{text}");
    assert!(press(KeyCode::Char('p')).1.contains("paused"));
    let (_, text) = press(KeyCode::Tab);
    assert!(text.contains("COMMAND"), "the first view is behind the last: {text}");
    assert_eq!(press(KeyCode::Char('x')).0, Next::Nothing);
    assert_eq!(press(KeyCode::Char('q')).0, Next::Quit);
}

#[test]
fn screens_of_any_size() {
    let state = state();
    for view in View::ALL {
        let mut screen = Screen::new(view);
        screen.take(&state);
        for (width, height) in [(1, 1), (3, 2), (20, 5), (300, 100)] {
            drawn(&screen, width, height);
        }
    }
}
