//! Limits of this process. Each program, map and link of a policy is an open file: a policy on all system
//! calls has more of them than the thousand that processes usually may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that are asked for: what the kernel allows by default (`fs.nr_open`).
const FILES: u64 = 1 << 20;

/// Raises the limit of open files as far as it goes; what is not possible is told.
pub fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let wanted = [Some(FILES), now.maximum].into_iter().flatten();
    for most in wanted.filter(|most| now.current.is_some_and(|current| current < *most)) {
        let maximum = now.maximum.map(|maximum| maximum.max(most));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).is_ok() {
            return;
        }
    }
    if let Some(current) = now.current.filter(|current| *current < FILES) {
        tracing::debug!(current, "the limit of open files could not be raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_can_be_had() {
        let before = getrlimit(Resource::Nofile);
        raise_open_files();
        let after = getrlimit(Resource::Nofile);
        assert!(after.current >= before.current);
        assert!(after.maximum >= before.maximum);
        let reachable =
            after.maximum.is_none_or(|maximum| after.current == Some(maximum.min(FILES)));
        assert!(reachable || after.current >= Some(FILES), "{after:?}");
    }
}
