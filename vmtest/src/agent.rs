//! A running agent: started, asked, stopped, and what it exported.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::event::{Event, Events};
use crate::lab::{Done, Lab, run, within};
use crate::test::in_vm;

/// What the log says when it is ready.
const READY: &str = "Tetragon is ready";

/// Emulation is slow; on the host the time to readiness is tested by itself.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// For the queue to drain and events to be written.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// An agent with a unix socket and a JSON export of its own. It is killed with the test's process
/// group when the test forgets it.
pub(crate) struct Agent {
    child: Child,
    directory: PathBuf,
    export: PathBuf,
    tetra: PathBuf,
    /// A program that nobody else runs, and how often it was.
    marker: (String, usize),
    /// How far the export was read.
    offset: u64,
    events: Events,
    started: Instant,
    ready_after: Duration,
}

impl Agent {
    /// Starts an agent whose files lie in the directory `name` of the lab.
    pub(crate) fn start(lab: &Lab, name: &str, flags: &[&str]) -> Result<Self> {
        let mut agent = Self::spawn(lab, name, flags)?;
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Starts an agent and does not wait.
    pub(crate) fn spawn(lab: &Lab, name: &str, flags: &[&str]) -> Result<Self> {
        let export = lab.path(name).join("events.json");
        Self::spawn_exporting_to(lab, name, &export, flags)
    }

    /// The same with the export file elsewhere.
    pub(crate) fn spawn_exporting_to(
        lab: &Lab,
        name: &str,
        export: &Path,
        flags: &[&str],
    ) -> Result<Self> {
        let directory = lab.path(name);
        fs::create_dir_all(&directory)?;
        let log = File::create(directory.join("log"))?;
        let marker = lab.program(&format!("{name}/marker"), &crate::elf::exit(0))?;
        let started = Instant::now();
        let child = Command::new(lab.binary("tetragon")?)
            .arg(format!("--server-address=unix://{}", directory.join("socket").display()))
            .arg(format!("--export-filename={}", export.display()))
            // One file, however long.
            .arg("--export-file-max-size-mb=100000")
            .arg("--health-server-address=")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the agent does not start")?;
        Ok(Self {
            child,
            directory,
            export: export.to_owned(),
            tetra: lab.binary("tetra")?,
            marker: (marker, 0),
            offset: 0,
            events: Events::default(),
            started,
            ready_after: Duration::ZERO,
        })
    }

    /// Waits until it sees processes and answers. It listens before the former, so that no listener
    /// misses the first events.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let socket = self.socket();
        while !self.log().contains(READY) || UnixStream::connect(&socket).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}:\n{}", self.log());
            }
            let late = self.started.elapsed() > READY_WITHIN;
            ensure!(!late, "the agent is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.ready_after = self.started.elapsed();
        Ok(())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Time from its start until it answered.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// The export file.
    pub(crate) fn export(&self) -> PathBuf {
        self.export.clone()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A `tetra` command to this agent.
    pub(crate) fn tetra(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.tetra);
        command.arg("--server-address").arg(format!("unix://{}", self.socket().display()));
        command.args(arguments);
        command
    }

    /// Runs a `tetra` command to its end.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<Done> {
        // What the verifier does in a second takes an emulated machine half a minute.
        let patience: &[&str] = if in_vm() { &["--timeout=2m"] } else { &[] };
        run(self.tetra(patience).args(arguments))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).context("signalling the agent")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        within(limit, "the agent ends", || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })
        .with_context(|| self.log())?;
        status.context("no status")
    }

    /// What it exported so far.
    pub(crate) fn events(&mut self) -> Result<&Events> {
        read_new(&self.export(), &mut self.offset, &mut self.events)?;
        Ok(&self.events)
    }

    /// Waits until the exported events are as wanted.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Events) -> bool,
    ) -> Result<()> {
        within(SETTLED_WITHIN, what, || Ok(is_so(self.events()?))).with_context(|| self.log())
    }

    /// Waits until everything that happened before this call is exported: a program run now comes
    /// after it in the ring.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.marker.1 += 1;
        let (marker, times) = self.marker.clone();
        run(&mut Command::new(&marker))?.ok()?;
        self.wait_for("the marker's exit is exported", |events| {
            events.exits_of(&marker).len() >= times
        })
    }

    /// Settles, stops and returns all events.
    pub(crate) fn finish(mut self) -> Result<Events> {
        self.settle()?;
        self.stop()
    }

    /// Stops it, which has to go well, and returns all events.
    pub(crate) fn stop(mut self) -> Result<Events> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(STOPPED_WITHIN)?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.log());
        self.events()?;
        let length = fs::metadata(self.export())?.len();
        ensure!(self.offset == length, "the export ends inside a line");
        Ok(std::mem::take(&mut self.events))
    }
}

/// Reads the whole lines that were added to the export since `offset`.
fn read_new(path: &Path, offset: &mut u64, events: &mut Events) -> Result<()> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(*offset))?;
            file.read_to_end(&mut bytes)?;
        }
        // The agent creates it in its own time.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("the export"),
    }
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&bytes[..whole]).context("the export is not UTF-8")?;
    for line in text.lines() {
        events.0.push(Event::parse(line)?);
    }
    *offset += whole as u64;
    Ok(())
}
