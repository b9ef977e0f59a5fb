//! TrackSock, UntrackSock and `returnArgAction`: whom events about sockets are about.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{Observation, Observed, Owner};
use harness::{Harness, hook_number, hooks, policy};
use kernel::features::Feature;
use kernel::map::Map;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

const SYN_SENT: u32 = 2;
const FIN_WAIT1: u32 = 4;
const FIN_WAIT2: u32 = 5;

/// Changes of the TCP state to `new`, on sockets that connect to `port`.
fn on_state(new: u32, port: u16, actions: &str) -> String {
    format!(
        "subsystem: sock\nevent: inet_sock_set_state\nraw: true\nargs:\n- {{index: 2, type: int}}\n- {{index: 0, type: sock}}\nselectors:\n- matchArgs:\n  - {{args: [0], operator: Equal, values: ['{new}']}}\n  - {{args: [1], operator: DPort, values: ['{port}']}}\n  matchActions: [{actions}]\n"
    )
}

fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// Connects in another thread; gives its number too.
fn connected_by_another(to: SocketAddr) -> (TcpStream, u32) {
    thread::spawn(move || (TcpStream::connect(to).unwrap(), tid())).join().unwrap()
}

/// The owner's thread, by the hook that saw it.
fn owners(seen: &[Observation]) -> Vec<(usize, Option<u32>)> {
    let mut owners: Vec<_> =
        seen.iter().map(|seen| (hook_number(seen), seen.owner.map(|owner| owner.tid))).collect();
    owners.sort_unstable();
    owners
}

/// How many maps of owners this process has.
fn maps() -> usize {
    let ids = std::fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(|entry| {
        let text = std::fs::read_to_string(entry.ok()?.path()).ok()?;
        text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok())
    });
    let maps = ids.filter_map(|id| Map::from_id(id).ok());
    maps.filter(|map| map.name().starts_with("tg_sock_")).count()
}

/// Tests that track, one at a time: their maps are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn events_are_about_whom_the_socket_is_tracked_for() {
    let _alone = alone();
    let Some(mut harness) = Harness::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let post = "{action: Post}";
    let tracked = [
        on_state(SYN_SENT, to.port(), "{action: TrackSock, argSock: 1}"),
        on_state(FIN_WAIT1, to.port(), "{action: UntrackSock, argSock: 1}"),
        on_state(FIN_WAIT2, to.port(), post),
    ];
    let (untracked, _) = connected_by_another(to);
    harness.load(&hooks("tracks", "tracepoints", tracked));
    harness.load(&policy("other", "tracepoints", &on_state(FIN_WAIT1, to.port(), post)));
    let mut connector = 0;
    let seen = harness.during(|| {
        let (stream, tid) = connected_by_another(to);
        connector = tid;
        drop(stream);
    });
    let (seen, others): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|seen| seen.policy.name == "tracks");
    // The event that tracks is about who runs, the one that ends it still about the owner.
    assert!(owners(&seen).starts_with(&[(0, None), (1, Some(connector))]), "{seen:?}");
    let end = seen.iter().find(|seen| hook_number(seen) == 1).unwrap();
    assert_eq!(end.tid, tid());
    assert_eq!(end.owner, Some(Owner { process: end.process, tid: connector }));
    assert!(seen.iter().all(|seen| hook_number(seen) != 2 || seen.owner.is_none()), "{seen:?}");
    assert_eq!(owners(&others), [(0, None)], "what one policy tracks is not another's");

    let seen = harness.during(|| drop(untracked));
    assert!(seen.iter().all(|seen| seen.owner.is_none()), "from before: {seen:?}");
}

#[test]
fn a_policy_that_is_replaced_finds_what_was_tracked() {
    let _alone = alone();
    let Some(mut harness) = Harness::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let hook = |new, action| on_state(new, to.port(), action);
    let first = hook(SYN_SENT, "{action: TrackSock, argSock: 1}, {action: NoPost}");
    let with = |post| hooks("again", "tracepoints", [&first, &hook(FIN_WAIT1, post)]);
    harness.load(&with("{action: Post}"));
    let (mut kept, mut forgotten) = (None, None);
    let silent = harness.during(|| {
        kept = Some(connected_by_another(to));
        forgotten = Some(connected_by_another(to));
    });
    assert!(silent.is_empty(), "{silent:?}");
    harness.load(&with("{action: Post, rateLimit: '1'}"));
    let (stream, connector) = kept.unwrap();
    let seen = harness.during(|| drop(stream));
    assert_eq!(owners(&seen), [(1, Some(connector))]);
    harness.remove("again");
    harness.load(&with("{action: Post}"));
    let seen = harness.during(|| drop(forgotten));
    assert_eq!(owners(&seen), [(1, None)], "it went with the policy");
}

#[test]
fn only_policies_that_track_have_a_map() {
    let _alone = alone();
    let Some(mut harness) = Harness::new() else { return };
    let on = |actions: &str| on_state(FIN_WAIT1, 1, actions);
    harness.load(&policy("plain", "tracepoints", &on("{action: Post}")));
    assert_eq!(maps(), 0);
    harness.load(&policy("tracks", "tracepoints", &on("{action: TrackSock, argSock: 1}")));
    assert_eq!(maps(), 1);
    harness.remove("tracks");
    assert_eq!(maps(), 0);
}

/// Behind trampolines, and behind breakpoints.
fn harnesses() -> impl Iterator<Item = Harness> {
    let lacks = [Feature::Fentry, Feature::Fexit];
    let trampolines = Harness::with(Feature::Fexit);
    [trampolines, Harness::without(Feature::Kretprobe, &lacks)].into_iter().flatten()
}

#[test]
fn sockets_that_functions_return_are_tracked() {
    let _alone = alone();
    let alloc = "
call: sk_alloc
syscall: false
return: true
returnArg: {index: 0, type: sock}
returnArgAction: TrackSock
args:
- {index: 1, type: int}
selectors:
- matchArgs:
  - {index: 1, operator: Equal, values: ['2']}
";
    let output = "
call: ip_output
syscall: false
args:
- {index: 1, type: sock}
- {index: 2, type: skb}
selectors:
- matchArgs:
  - {index: 2, operator: DAddr, values: [127.0.0.77]}
";
    let release = "
call: inet_release
syscall: false
args:
- {index: 0, type: socket}
selectors:
- matchActions: [{action: UntrackSock}]
";
    for mut harness in harnesses() {
        harness.load(&hooks("tracks", "kprobes", [alloc, output, release]));
        let mut creator = 0;
        let mut other = None;
        let seen = harness.during(|| {
            let (socket, by) =
                thread::spawn(|| (UdpSocket::bind("127.0.0.1:0").unwrap(), tid())).join().unwrap();
            creator = by;
            socket.send_to(b"tested", "127.0.0.77:777").unwrap();
            // Of a family that is not asked for.
            other = Some(UdpSocket::bind("[::1]:0").unwrap());
        });
        let own = |hook| seen.iter().filter(move |seen| hook_number(seen) == hook);
        let made: Vec<_> = own(0).map(|seen| (seen.tid, seen.owner)).collect();
        assert_eq!(made, [(creator, None)], "{seen:?}");
        assert!(matches!(own(0).next().unwrap().returned, Some(Observed::Socket(_))), "{seen:?}");
        let sent: Vec<_> = own(1).map(|seen| (seen.tid, seen.owner.map(|one| one.tid))).collect();
        assert_eq!(sent, [(tid(), Some(creator))], "{seen:?}");
        let released: Vec<_> = own(2).map(|seen| seen.owner.map(|one| one.tid)).collect();
        assert_eq!(released, [Some(creator)], "{seen:?}");
    }
}

#[test]
fn what_cannot_be_tracked_is_refused() {
    let Some(mut harness) = Harness::new() else { return };
    for (actions, why) in [
        ("{action: TrackSock}", "args[0] is of type int: TrackSock needs sock or socket"),
        ("{action: UntrackSock, argSock: 2}", "there is no args[2]"),
    ] {
        let policy = policy("wrong", "tracepoints", &on_state(FIN_WAIT1, 1, actions));
        let error = harness.try_load(&policy).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let at_return = "
call: sys_umask
syscall: true
return: true
returnArg: {index: 0, type: int}
args:
- {index: 0, type: sock}
selectors:
- matchReturnActions: [{action: TrackSock, argSock: 0}]
";
    let error = harness.try_load(&policy("wrong", "kprobes", at_return)).unwrap_err();
    assert!(error.contains("gone when the function returns"), "{error}");
}
