//! What a selector does, in words.

use std::io;

use policy::checked::{Action, Placed, Post, RateLimit, RateLimitScope};

use super::words::joined;

/// What is done in the order of the policy, and what is reported.
pub(super) fn text(actions: &[Placed<Action>], input: &dyn Fn(usize) -> String) -> String {
    let mut done: Vec<String> = Vec::new();
    let mut report = "reports the call".to_owned();
    for action in actions {
        match &action.value {
            Action::NoPost => report = "reports nothing".to_owned(),
            Action::Post(post) => report = reported(post),
            other => done.push(one(other, input)),
        }
    }
    done.push(report);
    joined(&done, "and")
}

fn one(action: &Action, input: &dyn Fn(usize) -> String) -> String {
    match action {
        Action::Post(post) => reported(post),
        Action::NoPost => "reports nothing".to_owned(),
        Action::Sigkill => "kills the process (SIGKILL)".to_owned(),
        Action::Signal(number) => format!("sends the process signal {number}"),
        Action::Override(error) => format!("makes the call fail with {}", errno(*error)),
        Action::SetRegisters(_) => "changes registers of the program".to_owned(),
        Action::GetUrl(url) => format!("has the agent fetch {url}"),
        Action::DnsLookup(name) => format!("has the agent look up {name}"),
        Action::TrackSock(at) => format!("remembers the process as owner of {}", input(*at)),
        Action::UntrackSock(at) => format!("forgets the owner of {}", input(*at)),
        Action::NotifyEnforcer { error, signal } => {
            let mut what = Vec::new();
            if *error != 0 {
                what.push(format!("make the call fail with {}", errno(*error)));
            }
            if *signal != 0 {
                what.push(format!("send signal {signal}"));
            }
            format!("has the policy's enforcer {}", joined(&what, "and"))
        }
        Action::CleanupEnforcerNotification => "takes back what the enforcer was told".to_owned(),
        Action::Set { argument, value } => format!("sets {} to {value}", input(*argument)),
    }
}

fn reported(post: &Post) -> String {
    let Post { rate_limit, kernel_stack, user_stack, ima_hash } = post;
    let mut with: Vec<String> = Vec::new();
    if *kernel_stack {
        with.push("the kernel's stack".to_owned());
    }
    if *user_stack {
        with.push("the program's stack".to_owned());
    }
    if *ima_hash {
        with.push("the file's IMA digest".to_owned());
    }
    let mut text = "reports the call".to_owned();
    if !with.is_empty() {
        text.push_str(&format!(" with {}", joined(&with, "and")));
    }
    if let Some(RateLimit { interval, scope }) = rate_limit {
        let whose = match scope {
            RateLimitScope::Thread => "thread",
            RateLimitScope::Process => "process",
            RateLimitScope::Global => "machine",
        };
        text.push_str(&format!(", equal calls at most once in {interval:?} for each {whose}"));
    }
    text
}

/// `-13 (Permission denied)`
fn errno(error: i32) -> String {
    if error >= 0 {
        return error.to_string();
    }
    let text = io::Error::from_raw_os_error(error.saturating_neg()).to_string();
    format!("{error} ({})", text.split(" (os error").next().unwrap_or_default())
}
