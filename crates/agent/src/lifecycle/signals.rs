//! SIGINT and SIGTERM: the first one stops the agent in order, the second one at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the agent.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from the system's default. Needs the runtime.
    pub fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one; says its number.
    pub async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }

    /// Waits for one more and then ends the process at once, with the status that a shell gives
    /// to a process that the signal killed. What the agent left behind, the next one cleans up.
    pub async fn exit_on_next(mut self) {
        let signal = self.next().await;
        tracing::error!("A second signal came: the agent ends at once");
        std::process::exit(128 + signal.as_raw_value());
    }
}
