//! What is on the screen, and what keys do.

use std::collections::HashSet;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as Cells, Table, TableState, Tabs};

use super::rows::{Row, View};
use super::state::State;

/// Lines that Page Up and Page Down move by.
const PAGE: usize = 20;

/// What the keys are, in the last line.
const KEYS: &str =
    "q quit  1-5 Tab view  ↑↓ move  ← → Enter fold  s sort by rate or total  p pause";

/// What is looked at, and how.
#[derive(Debug)]
pub(super) struct Screen {
    view: View,
    by_total: bool,
    paused: bool,
    folded: HashSet<String>,
    rows: Vec<Row>,
    summary: Summary,
    selected: usize,
    /// A failure that does not end it.
    pub(super) trouble: Option<String>,
}

/// The first lines.
#[derive(Debug, Default)]
struct Summary {
    events: String,
    losses: Vec<String>,
}

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Draw again.
    Draw,
    /// Go over the events again, then draw.
    Refresh,
    /// End.
    Quit,
    /// Nothing.
    Nothing,
}

impl Screen {
    /// One that looks at this.
    pub(super) fn new(view: View) -> Self {
        Self {
            view,
            by_total: false,
            paused: false,
            folded: HashSet::new(),
            rows: Vec::new(),
            summary: Summary::default(),
            selected: 0,
            trouble: None,
        }
    }

    /// Takes over what there is now, unless it is paused.
    pub(super) fn take(&mut self, state: &State) {
        if !self.paused {
            self.refresh(state);
        }
    }

    /// Takes over what there is now. What was selected stays so.
    pub(super) fn refresh(&mut self, state: &State) {
        let selected = self.rows.get(self.selected).map(|row| row.key.clone());
        self.rows = self.view.rows(state, self.by_total, &self.folded);
        // The busiest comes and goes; in the tree a process keeps its place among others.
        let place = selected.filter(|_| self.view == View::Tree || self.selected > 0);
        let place = place.and_then(|key| self.rows.iter().position(|row| row.key == key));
        self.selected = place.unwrap_or(self.selected).min(self.rows.len().saturating_sub(1));
        let of = |name: &str, counter: super::counts::Counter| {
            format!("{name} {:.1}/s, {} in all", counter.rate, counter.total)
        };
        let mut losses = Vec::new();
        if state.lost.total > 0 {
            losses.push(of("Lost", state.lost));
            for (cause, counter) in state.losses.sorted(false).into_iter().take(3) {
                losses.push(of(&format!("  {cause}"), counter));
            }
        }
        if state.limited.total > 0 {
            losses.push(of("Left out by the export's rate limit", state.limited));
        }
        if state.processes.left_out() > 0 {
            losses.push(format!("{} ended processes forgotten", state.processes.left_out()));
        }
        self.summary = Summary { events: of("Events", state.events), losses };
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Nothing;
        }
        let last = self.rows.len().saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Next::Quit;
            }
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char(digit @ '1'..='5') => {
                let view = View::ALL.get(digit as usize - '1' as usize);
                return self.look_at(view.copied().unwrap_or(self.view));
            }
            KeyCode::Tab | KeyCode::BackTab => {
                let step = if key.code == KeyCode::Tab { 1 } else { View::ALL.len() - 1 };
                let place = View::ALL.iter().position(|view| *view == self.view).unwrap_or(0);
                return self.look_at(View::ALL[(place + step) % View::ALL.len()]);
            }
            KeyCode::Char('s') => {
                self.by_total = !self.by_total;
                return Next::Refresh;
            }
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(PAGE),
            KeyCode::PageDown => self.selected = (self.selected + PAGE).min(last),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            KeyCode::Enter | KeyCode::Left | KeyCode::Right | KeyCode::Char(' ')
                if self.view == View::Tree =>
            {
                let Some(row) = self.rows.get(self.selected) else { return Next::Nothing };
                let folded = self.folded.contains(&row.key);
                let fold = match key.code {
                    KeyCode::Left => true,
                    KeyCode::Right => false,
                    _ => !folded,
                };
                match fold {
                    true => self.folded.insert(row.key.clone()),
                    false => self.folded.remove(&row.key),
                };
                return Next::Refresh;
            }
            _ => return Next::Nothing,
        }
        Next::Draw
    }

    fn look_at(&mut self, view: View) -> Next {
        self.view = view;
        self.selected = 0;
        self.rows.clear();
        Next::Refresh
    }

    /// Draws it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let trouble = self.trouble.iter().cloned().map(Line::from);
        let losses = self.summary.losses.iter().cloned().map(Line::from);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut first = self.summary.events.clone();
        if self.paused {
            first.push_str("   paused");
        }
        let alarm = Style::new().add_modifier(Modifier::REVERSED);
        let mut lines = vec![Line::from(Span::styled(first, bold))];
        lines.extend(losses.chain(trouble).map(|line| line.style(alarm)));
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let areas = Layout::vertical([
            Constraint::Length(height),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .split(frame.area());
        frame.render_widget(Paragraph::new(lines), areas[0]);
        let names =
            View::ALL.iter().enumerate().map(|(n, view)| format!("{} {}", n + 1, view.name()));
        let place = View::ALL.iter().position(|view| *view == self.view);
        frame.render_widget(Tabs::new(names).select(place), areas[1]);
        let head = self.view.head();
        let widths: Vec<Constraint> = (0..head.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
                let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
                let width = widest.max(head[column].len());
                match column + 1 == head.len() {
                    true => Constraint::Fill(1),
                    false => Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)),
                }
            })
            .collect();
        // Only what can be seen is laid out: there may be very many.
        let room = usize::from(areas[2].height).saturating_sub(1).max(1);
        let from = self.selected.saturating_sub(room / 2);
        let from = from.min(self.rows.len().saturating_sub(room));
        let seen = self.rows.iter().skip(from).take(room);
        let table = Table::new(seen.map(|row| Cells::new(row.cells.clone())), widths)
            .header(Cells::new(head.iter().copied()).style(bold))
            .column_spacing(2)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut place = TableState::new().with_selected(Some(self.selected - from));
        frame.render_stateful_widget(table, areas[2], &mut place);
        frame.render_widget(Line::from(KEYS).style(Style::new().dim()), areas[3]);
    }
}
