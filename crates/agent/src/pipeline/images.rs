//! From records and `/proc` to what the table keeps.

use std::borrow::Cow;
use std::sync::Arc;

use compiler::base::record::{Exec, Flags, PartOf};

use super::Pipeline;
use crate::cgroups::map::Hint;
use crate::process::arguments;
use crate::process::entry::{Image, ImageNamespaces};
use crate::procfs::{Snapshot, Stat, Wanted};

impl Pipeline {
    /// What an exec brought, and its flags with those for lost parts.
    pub(super) fn image_of_exec(&mut self, exec: &Exec<'_>) -> (Image, Flags) {
        let mut flags = exec.flags;
        let (args, complete) = self.whole(exec, PartOf::Args);
        flags.set(Flags::ERROR_ARGS, flags.contains(Flags::ERROR_ARGS) || !complete);
        let (env, env_complete) = self.whole(exec, PartOf::Env);
        flags.set(Flags::ERROR_ENVS, flags.contains(Flags::ERROR_ENVS) || !env_complete);
        if !complete || !env_complete {
            self.counters.incomplete_texts += 1;
        }
        let cwd = String::from_utf8_lossy(exec.cwd);
        let filename = match exec.filename {
            [] => exec.exe,
            filename => filename,
        };
        let binary = arguments::binary(&String::from_utf8_lossy(filename), &cwd);
        let creds = &exec.creds;
        let namespaces = ImageNamespaces { others: exec.ns, user: creds.user_ns.inum };
        let image = Image {
            arguments: self.arguments(&binary, &args),
            environment: self.environment(&binary, &env),
            binary: binary.into(),
            cwd: cwd.into(),
            uid: Some(creds.euid),
            auid: Some(exec.auid),
            user: self.user(creds.euid, &namespaces),
            creds: self.config.credentials.then(|| Box::new(*creds)),
            namespaces: self.config.namespaces.then(|| Box::new(namespaces)),
        };
        (image, flags)
    }

    /// What `/proc` told of a process.
    ///
    /// Where the link to its executable may not be read (or it is a zombie, and has none), it is named by
    /// its first argument or its thread's name; its flags say so.
    pub(super) fn image_of_snapshot(&mut self, stat: &Stat, found: Snapshot) -> Image {
        let first = found.arguments.split(|&byte| byte == 0).next().unwrap_or_default();
        let binary = match &*found.exe {
            [] if first.starts_with(b"/") => String::from_utf8_lossy(first),
            [] => Cow::Borrowed(&*stat.comm),
            exe => String::from_utf8_lossy(exe),
        };
        let binary = binary.into_owned();
        let uid = found.creds.map(|creds| creds.euid);
        let user = match (uid, found.namespaces) {
            (Some(uid), Some(namespaces)) => self.user(uid, &namespaces),
            _ => None,
        };
        Image {
            arguments: self.arguments(&binary, &found.arguments),
            environment: self.environment(&binary, &found.environment),
            cwd: String::from_utf8_lossy(&found.cwd).into(),
            binary: binary.into(),
            uid,
            auid: found.auid,
            user,
            creds: found.creds.filter(|_| self.config.credentials).map(Box::new),
            namespaces: found.namespaces.filter(|_| self.config.namespaces).map(Box::new),
        }
    }

    /// A kernel thread, or the kernel.
    pub(super) fn kernel_image(name: &str) -> Image {
        Image {
            binary: name.into(),
            cwd: "/".into(),
            uid: Some(0),
            auid: Some(u32::MAX),
            ..Image::default()
        }
    }

    /// What to read of `/proc/PID`.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            // Names of users need to know whose namespaces these are; credentials show one.
            namespaces: self.config.namespaces || self.config.usernames || self.config.credentials,
            environment: self.config.environment,
            max: self.config.max_text,
        }
    }

    /// Container of the cgroup; `inherited` is for one that could not be read or found.
    pub(super) fn container(
        &mut self,
        cgroup: u64,
        name: &[u8],
        pid: u32,
        inherited: Option<Arc<str>>,
    ) -> Option<Arc<str>> {
        let hint = Hint { name, now: self.now };
        self.cgroups.resolve(cgroup, hint, || self.procfs.cgroups(pid)).or(inherited)
    }

    /// Arguments or environment of an exec, put together from its parts if it came in parts, and
    /// whether that is all that was sent.
    fn whole<'a>(&mut self, exec: &Exec<'a>, what: PartOf) -> (Cow<'a, [u8]>, bool) {
        let (inline, sent) = match what {
            PartOf::Args => (exec.args, exec.args_parts),
            PartOf::Env => (exec.env, exec.env_parts),
        };
        if sent == 0 {
            return (Cow::Borrowed(inline), true);
        }
        let (bytes, complete) = self.parts.take(exec.process, what, sent);
        (Cow::Owned(bytes), complete)
    }

    fn arguments(&self, binary: &str, raw: &[u8]) -> Box<str> {
        self.config.redaction.apply(binary, arguments::arguments(raw)).into()
    }

    fn environment(&self, binary: &str, raw: &[u8]) -> Box<[Box<str>]> {
        if !self.config.environment {
            return Box::default();
        }
        arguments::environment(raw, &self.config.environment_only)
            .into_iter()
            .map(|entry| self.config.redaction.apply(binary, entry).into())
            .collect()
    }

    /// Account of a user id, for processes in the host's mount and user namespaces: elsewhere the
    /// host's accounts mean nothing.
    fn user(&mut self, uid: u32, namespaces: &ImageNamespaces) -> Option<Arc<str>> {
        let host = &self.config.host;
        if !self.config.usernames
            || namespaces.others.mnt != host.others.mnt
            || namespaces.user != host.user
        {
            return None;
        }
        self.users.name(uid, self.now)
    }
}
