//! `tetra top`: what the agent sees at this moment: the busiest processes, policies and hooks, what is
//! lost, and the processes as a tree.

mod counts;
mod rows;
mod screen;
mod state;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::tetragon::{DumpProcessCacheReqArgs, ListTracingPoliciesRequest};
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use tokio::sync::mpsc;

use crate::cli::Global;
use crate::dump;
use crate::duration;
use crate::error::Error;
use crate::getevents::{self, Selection, Source};
use crate::output;
use crate::server::Server;
use crate::table;
use rows::View;
use screen::{Next, Screen};
use state::State;

/// How often policies are asked for.
const POLICIES_EVERY: Duration = Duration::from_secs(2);

/// Flags of the command.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// What to look at first
    #[arg(long, value_enum, default_value = "processes")]
    view: View,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
    /// Print one look as text, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    selection: Selection,
}

/// Shows it until it is told to end, or the agent goes away.
pub(crate) async fn run(global: &Global, flags: Flags) -> Result<(), Error> {
    if flags.interval.is_zero() {
        return Err(Error::Usage("--interval has to be more than 0".to_owned()));
    }
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if !flags.once && !terminal {
        let text = "this is no terminal; --once prints one look as text";
        return Err(Error::Usage(text.to_owned()));
    }
    let state = Arc::new(Mutex::new(State::default()));
    let server = Server::new(global)?;
    // That the agent does not answer is better said before the screen is cleared.
    lock(&state).policies = policies(&server).await?;
    let known = dump::processes(&server, DumpProcessCacheReqArgs::default()).await?;
    lock(&state).processes.add_table(&known);
    let request = flags.selection.request();
    let events = getevents::collect(global, Source::Agent, request, state.clone());
    if flags.once {
        return tokio::select! {
            ended = events => ended,
            ended = once(flags.view, flags.interval, &state) => ended,
        };
    }
    let screen = Screen::new(flags.view);
    tokio::select! {
        ended = events => ended,
        ended = show(screen, &server, flags.interval, &state) => ended,
    }
}

async fn policies(server: &Server) -> Result<Vec<api::tetragon::TracingPolicyStatus>, Error> {
    let request = ListTracingPoliciesRequest::default();
    let answer =
        server.call(async |client| client.list_tracing_policies(request.clone()).await).await?;
    Ok(answer.policies)
}

async fn once(view: View, interval: Duration, state: &Mutex<State>) -> Result<(), Error> {
    tokio::time::sleep(interval).await;
    let mut state = lock(state);
    state.tick(interval);
    output::print(&text(view, &state))
}

/// A look as text.
fn text(view: View, state: &State) -> String {
    let mut rows = vec![view.head().iter().map(|&name| name.to_owned()).collect()];
    let mut cells = view.rows(state, false, &HashSet::new());
    for row in &mut cells {
        row.cells.resize(view.head().len(), String::new());
    }
    rows.extend(cells.into_iter().map(|row| row.cells));
    let mut text = format!(
        "events {:.1}/s  lost {:.1}/s  left out by rate limit {:.1}/s\n",
        state.events.rate, state.lost.rate, state.limited.rate
    );
    table::lines(&rows).into_iter().for_each(|line| text.push_str(&(line + "\n")));
    text
}

/// The terminal, given back however this ends.
struct Screened(DefaultTerminal);

impl Drop for Screened {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn show(
    mut screen: Screen,
    server: &Server,
    interval: Duration,
    state: &Mutex<State>,
) -> Result<(), Error> {
    let mut terminal = Screened(ratatui::try_init().map_err(Error::Write)?);
    let mut keys = keys();
    let mut ticks = tokio::time::interval(interval);
    let mut lists = tokio::time::interval(POLICIES_EVERY);
    let mut since = Instant::now();
    loop {
        let next = tokio::select! {
            _ = ticks.tick() => {
                let mut state = lock(state);
                state.tick(since.elapsed());
                since = Instant::now();
                screen.take(&state);
                Next::Draw
            }
            _ = lists.tick() => {
                match policies(server).await {
                    Ok(policies) => {
                        lock(state).policies = policies;
                        screen.trouble = None;
                    }
                    Err(error) => screen.trouble = Some(format!("policies are not known: {error}")),
                }
                Next::Nothing
            }
            event = keys.recv() => match event {
                Some(Ok(event::Event::Key(key))) => screen.key(key),
                Some(Ok(event::Event::Resize(..))) => Next::Draw,
                Some(Ok(_)) => Next::Nothing,
                Some(Err(cause)) => return Err(Error::Read(cause)),
                None => Next::Quit,
            },
        };
        match next {
            Next::Quit => return Ok(()),
            Next::Nothing => continue,
            Next::Refresh => screen.refresh(&lock(state)),
            Next::Draw => {}
        }
        terminal.0.draw(|frame| screen.draw(frame)).map_err(Error::Write)?;
    }
}

/// What is typed. Reads wait, so that they have a thread of their own.
fn keys() -> mpsc::Receiver<io::Result<event::Event>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
