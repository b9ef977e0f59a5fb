//! Actions, with the parameters that each needs and the hooks that have it.

use super::argument::Argument;
use super::checker::Checker;
use super::comparison::ValueKind;
use super::hook::{Facts, HookKind};
use super::register::Assignment;
use super::request;
use crate::document::{Action as Written, ActionName as Name, TypeName};
use crate::problem::{Path, alternatives, excerpt};
use std::time::Duration;

/// What a selector does when it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends an event.
    Post(Post),
    /// Sends no event.
    NoPost,
    /// Kills the process.
    Sigkill,
    /// Sends this signal.
    Signal(u8),
    /// Replaces the call's result by this value.
    Override(i32),
    /// Sets registers and goes on elsewhere, in a uprobe.
    SetRegisters(SetRegisters),
    /// Fetches a URL.
    GetUrl(String),
    /// Looks up a name.
    DnsLookup(String),
    /// Remembers the process as owner of the socket at this position of `args`.
    TrackSock(usize),
    /// Forgets the owner of the socket at this position of `args`.
    UntrackSock(usize),
    /// Tells the enforcer to return an error and to send a signal (0: none).
    NotifyEnforcer {
        /// Value to return.
        error: i32,
        /// Signal to send.
        signal: u8,
    },
    /// Drops what the enforcer was told.
    CleanupEnforcerNotification,
    /// Overwrites the argument at this position of `args`.
    Set {
        /// Position in `args`.
        argument: usize,
        /// Value.
        value: i32,
    },
}

/// How an event is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// Least time between equal events.
    pub rate_limit: Option<RateLimit>,
    /// With the kernel's stack.
    pub kernel_stack: bool,
    /// With the user's stack.
    pub user_stack: bool,
    /// With the file's IMA digest.
    pub ima_hash: bool,
}

/// Least time between equal events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The time; at most 2^32-1 ms.
    pub interval: Duration,
    /// What has its own limit.
    pub scope: RateLimitScope,
}

/// What has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimitScope {
    /// Every thread.
    Thread,
    /// Every process.
    Process,
    /// The whole machine.
    Global,
}

/// What an Override of a uprobe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRegisters {
    /// Value to return to the caller; applies when nothing else is given.
    pub error: i32,
    /// Registers to set, in this order.
    pub assignments: Vec<Assignment>,
    /// Where to go on.
    pub jump: Option<Jump>,
}

/// Where a program goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jump {
    /// At a symbol of the same file.
    Symbol(String),
    /// At a virtual address.
    Address(u64),
    /// At an offset in the file.
    Offset(u64),
}

impl Action {
    /// Its name in policies.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let name = match self {
            Self::Post(_) => Name::Post,
            Self::NoPost => Name::NoPost,
            Self::Sigkill => Name::Sigkill,
            Self::Signal(_) => Name::Signal,
            Self::Override(_) | Self::SetRegisters(_) => Name::Override,
            Self::GetUrl(_) => Name::GetUrl,
            Self::DnsLookup(_) => Name::DnsLookup,
            Self::TrackSock(_) => Name::TrackSock,
            Self::UntrackSock(_) => Name::UntrackSock,
            Self::NotifyEnforcer { .. } => Name::NotifyEnforcer,
            Self::CleanupEnforcerNotification => Name::CleanupEnforcerNotification,
            Self::Set { .. } => Name::Set,
        };
        name.name()
    }

    /// Whether the action interferes, so that its policy has a mode.
    #[must_use]
    pub fn is_enforcing(&self) -> bool {
        match self {
            Self::Sigkill
            | Self::Signal(_)
            | Self::Override(_)
            | Self::SetRegisters(_)
            | Self::NotifyEnforcer { .. }
            | Self::Set { .. } => true,
            Self::Post(_)
            | Self::NoPost
            | Self::GetUrl(_)
            | Self::DnsLookup(_)
            | Self::TrackSock(_)
            | Self::UntrackSock(_)
            | Self::CleanupEnforcerNotification => false,
        }
    }
}

/// Hooks of files and programs, of which IMA knows the digest.
const IMA_HOOKS: [&str; 11] = [
    "bprm_check_security",
    "bprm_committed_creds",
    "bprm_committing_creds",
    "bprm_creds_for_exec",
    "bprm_creds_from_file",
    "file_ioctl",
    "file_lock",
    "file_open",
    "file_post_open",
    "file_receive",
    "mmap_file",
];

/// The actions that a hook has.
fn allowed(kind: HookKind) -> Vec<Name> {
    let observe = [Name::Post, Name::NoPost];
    let signal = [Name::Sigkill, Name::Signal];
    let fetch = [Name::GetUrl, Name::DnsLookup];
    let enforcer = [Name::NotifyEnforcer, Name::CleanupEnforcerNotification];
    let sock = [Name::TrackSock, Name::UntrackSock];
    let own: &[&[Name]] = match kind {
        HookKind::Kprobe => &[&signal, &[Name::Override], &fetch, &sock, &enforcer],
        HookKind::Fentry => &[&fetch, &sock],
        HookKind::Tracepoint => &[&signal, &fetch, &sock, &enforcer],
        HookKind::Uprobe => &[&signal, &[Name::Override]],
        HookKind::Usdt => &[&signal, &[Name::Set]],
        HookKind::Lsm => &[&signal, &[Name::Override], &sock],
    };
    [&observe[..], &own.concat()].concat()
}

/// `None` when there is an error, or when the action has no effect any more.
pub(crate) fn check(
    written: &Written,
    facts: &Facts<'_>,
    args: &[Argument],
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Action> {
    let name = written.action;
    let at = path.key("action");
    if matches!(name, Name::FollowFd | Name::UnfollowFd | Name::CopyFd) {
        checker.note(
            &at,
            format!(
                "{name} is not needed any more and has no effect: fd arguments name their file"
            ),
        );
        return None;
    }
    let allowed = allowed(facts.kind);
    if !allowed.contains(&name) {
        let names = alternatives(allowed.iter().map(|name| name.name()));
        checker
            .error(&at, format!("{} cannot do {name}: they can do {names}", facts.kind.plural()));
        return None;
    }
    note_unused(written, facts, path, checker);
    match name {
        Name::Post => Some(Action::Post(check_post(written, facts, path, checker))),
        Name::NoPost => Some(Action::NoPost),
        Name::Sigkill => Some(Action::Sigkill),
        Name::Signal => {
            let signal = signal(written, path, checker)?;
            if signal.is_none() {
                checker.error(&path.key("argSig"), "Signal needs argSig, the signal's number");
            }
            signal.map(Action::Signal)
        }
        Name::Override if facts.kind == HookKind::Uprobe => set_registers(written, path, checker),
        Name::Override => check_override(written, facts, path, checker),
        Name::GetUrl => {
            let url = given(&written.url, "argUrl", name, path, checker)?;
            checker.ok(&path.key("argUrl"), request::url(&url)).map(|()| Action::GetUrl(url))
        }
        Name::DnsLookup => {
            let name = given(&written.fqdn, "argFqdn", name, path, checker)?;
            checker.ok(&path.key("argFqdn"), request::name(&name)).map(|()| Action::DnsLookup(name))
        }
        Name::TrackSock => sock(written, args, path, checker).map(Action::TrackSock),
        Name::UntrackSock => sock(written, args, path, checker).map(Action::UntrackSock),
        Name::NotifyEnforcer | Name::CleanupEnforcerNotification if !checker.has_enforcers => {
            checker.error(&at, format!("{name} needs spec.enforcers, which says what is enforced"));
            None
        }
        Name::NotifyEnforcer => {
            if written.error.is_none() && written.signal.is_none() {
                checker.error(path, "NotifyEnforcer needs argError, argSig or both");
            }
            let signal = signal(written, path, checker)?.unwrap_or(0);
            Some(Action::NotifyEnforcer { error: written.error.unwrap_or(0), signal })
        }
        Name::CleanupEnforcerNotification => Some(Action::CleanupEnforcerNotification),
        Name::Set => {
            let argument = position(written.index, "argIndex", name, args, path, checker)?;
            let value = written.value;
            if value.is_none() {
                checker.error(&path.key("argValue"), "Set needs argValue, the value to write");
            }
            Some(Action::Set { argument, value: value? })
        }
        Name::FollowFd | Name::UnfollowFd | Name::CopyFd => None,
    }
}

fn check_post(
    written: &Written,
    facts: &Facts<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Post {
    let kernel_stack = written.kernel_stack_trace.unwrap_or(false);
    let user_stack = written.user_stack_trace.unwrap_or(false);
    if facts.kind == HookKind::Lsm {
        for (given, key) in [(kernel_stack, "kernelStackTrace"), (user_stack, "userStackTrace")] {
            if given {
                checker.error(&path.key(key), "lsmhooks have no stack traces");
            }
        }
    }
    if matches!(facts.kind, HookKind::Uprobe | HookKind::Usdt) && kernel_stack {
        let message =
            "at an instruction of a program there is no kernel stack: events will have none";
        checker.note(&path.key("kernelStackTrace"), message);
    }
    let ima_hash = written.ima_hash.unwrap_or(false);
    if ima_hash && !(facts.kind == HookKind::Lsm && IMA_HOOKS.contains(&facts.name)) {
        let message = format!("imaHash is for the LSM hooks {}", alternatives(IMA_HOOKS));
        checker.error(&path.key("imaHash"), message);
    }
    Post { rate_limit: rate_limit(written, path, checker), kernel_stack, user_stack, ima_hash }
}

fn rate_limit(written: &Written, path: &Path<'_>, checker: &mut Checker<'_>) -> Option<RateLimit> {
    let scope_at = path.key("rateLimitScope");
    let scope = match written.rate_limit_scope.as_deref() {
        None | Some("" | "thread") => RateLimitScope::Thread,
        Some("process") => RateLimitScope::Process,
        Some("global") => RateLimitScope::Global,
        Some(other) => {
            let message =
                format!("`{}` is unknown: it can be thread, process or global", excerpt(other));
            checker.error(&scope_at, message);
            return None;
        }
    };
    let text = written.rate_limit.as_deref().unwrap_or_default();
    if text.is_empty() {
        if written.rate_limit_scope.is_some() {
            checker.note(&scope_at, "rateLimitScope has no effect without rateLimit");
        }
        return None;
    }
    let interval = checker.ok(&path.key("rateLimit"), interval(text))?;
    (!interval.is_zero()).then_some(RateLimit { interval, scope })
}

/// Reads `N`, `Ns`, `Nm` or `Nh`.
fn interval(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let wrong =
        || format!("`{}` is no time: write a number of seconds, or with s, m or h", excerpt(text));
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let millis = number.saturating_mul(unit).saturating_mul(1000).min(u64::from(u32::MAX));
    Ok(Duration::from_millis(millis))
}

/// The signal, if one is given; `None` outside when it is wrong.
fn signal(written: &Written, path: &Path<'_>, checker: &mut Checker<'_>) -> Option<Option<u8>> {
    let Some(signal) = written.signal else { return Some(None) };
    match u8::try_from(signal) {
        Ok(signal @ 1..=64) => Some(Some(signal)),
        _ => {
            checker.error(&path.key("argSig"), format!("{signal} is no signal: 1 to 64"));
            None
        }
    }
}

fn check_override(
    written: &Written,
    facts: &Facts<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Action> {
    if facts.kind == HookKind::Kprobe && !facts.overridable {
        let message = "only system calls and security_* functions can be overridden";
        checker.error(&path.key("action"), message);
        return None;
    }
    let at = path.key("argError");
    let error = written.error.unwrap_or_else(|| {
        checker.note(path, "Override has no argError: the call will return 0, as if it succeeded");
        0
    });
    // The kernel takes only these from LSM hooks (`bpf_lsm_get_retval_range`) and `fmod_ret`.
    if facts.errno_only && !(-4095..=0).contains(&error) {
        checker.note(&at, format!("{error} is no errno (-4095 to 0): -1 will be returned instead"));
        return Some(Action::Override(-1));
    }
    Some(Action::Override(error))
}

fn set_registers(written: &Written, path: &Path<'_>, checker: &mut Checker<'_>) -> Option<Action> {
    let at = path.key("argRegs");
    let assignments = checker.each(&written.registers, &at, Assignment::parse);
    let jump = match written {
        Written { new_symbol: Some(symbol), .. } => {
            if symbol.is_empty() {
                checker.error(&path.key("argNewSymbol"), "argNewSymbol needs the name of a symbol");
            }
            Some(Jump::Symbol(symbol.clone()))
        }
        Written { new_address: Some(address), .. } => Some(Jump::Address(*address)),
        Written { new_offset: Some(offset), .. } => Some(Jump::Offset(*offset)),
        _ => None,
    };
    Some(Action::SetRegisters(SetRegisters {
        error: written.error.unwrap_or(0),
        assignments,
        jump,
    }))
}

fn given(
    value: &Option<String>,
    key: &str,
    name: Name,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<String> {
    let value = value.clone().filter(|value| !value.is_empty());
    if value.is_none() {
        checker.error(&path.key(key), format!("{name} needs {key}"));
    }
    value
}

fn position(
    written: Option<u32>,
    key: &str,
    name: Name,
    args: &[Argument],
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<usize> {
    let Some(position) = written else {
        checker.error(&path.key(key), format!("{name} needs {key}, a position in args"));
        return None;
    };
    let position = usize::try_from(position).ok()?;
    if position >= args.len() {
        let message = format!(
            "there is no args[{position}]: {key} is a position in args, which has {} elements",
            args.len()
        );
        checker.error(&path.key(key), message);
        return None;
    }
    Some(position)
}

fn sock(
    written: &Written,
    args: &[Argument],
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<usize> {
    let name = written.action;
    // Policies rely on the first argument being meant when none is named.
    let sock = Some(written.sock.unwrap_or(0));
    let position = position(sock, "argSock", name, args, path, checker)?;
    let kind = args[position].kind;
    if kind.kind() != ValueKind::Socket && kind != TypeName::Auto {
        let message = format!("args[{position}] is of type {kind}: {name} needs sock or socket");
        checker.error(&path.key("argSock"), message);
        return None;
    }
    Some(position)
}

/// Notes parameters that belong to other actions; rate limits of others than Post are errors.
fn note_unused(written: &Written, facts: &Facts<'_>, path: &Path<'_>, checker: &mut Checker<'_>) {
    let name = written.action;
    let uprobe_override = name == Name::Override && facts.kind == HookKind::Uprobe;
    let post = name == Name::Post;
    let sock = matches!(name, Name::TrackSock | Name::UntrackSock);
    let notify = name == Name::NotifyEnforcer;
    let parameters = [
        ("argError", written.error.is_some(), name == Name::Override || notify),
        ("argSig", written.signal.is_some(), name == Name::Signal || notify),
        ("argUrl", written.url.is_some(), name == Name::GetUrl),
        ("argFqdn", written.fqdn.is_some(), name == Name::DnsLookup),
        ("argSock", written.sock.is_some(), sock),
        ("argIndex", written.index.is_some(), name == Name::Set),
        ("argValue", written.value.is_some(), name == Name::Set),
        ("argRegs", !written.registers.is_empty(), uprobe_override),
        ("argNewSymbol", written.new_symbol.is_some(), uprobe_override),
        ("argNewAddr", written.new_address.is_some(), uprobe_override),
        ("argNewOffset", written.new_offset.is_some(), uprobe_override),
        ("kernelStackTrace", written.kernel_stack_trace == Some(true), post),
        ("userStackTrace", written.user_stack_trace == Some(true), post),
        ("imaHash", written.ima_hash == Some(true), post),
        ("argFd", written.fd.is_some(), false),
        ("argName", written.name.is_some(), false),
    ];
    for (key, given, used) in parameters {
        if given && !used {
            checker.note(&path.key(key), format!("{key} has no effect with {name}"));
        }
    }
    if written.rate_limit.as_deref().is_some_and(|limit| !limit.is_empty()) && !post {
        let message = format!("only Post can be limited, not {name}");
        checker.error(&path.key("rateLimit"), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_have_units_and_an_end() {
        assert_eq!(interval("5"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(interval("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(interval("99999999999h"), Ok(Duration::from_millis(u64::from(u32::MAX))));
        for wrong in ["s", "-1", "1d", "1.5", "m5", "+1", " 1", "é"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
