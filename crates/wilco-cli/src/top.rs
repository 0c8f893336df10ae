//! `wilco top`: the overview, in a terminal.

mod frame;
mod keys;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use console::measure_text_width;
use http::Method;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};
use tokio::time::sleep;
use wilco_server::admin::Overview;

use super::{Failure, RemoteArgs, is_coloured, print, refusal};
use frame::{View, draw};
use keys::{Key, keys};

/// Show in the terminal whether all is well
///
/// Rates, latency, the backlog of each destination, failures, sources, disk and certificate, renewed
/// every second. Keys: q quits, p pauses, the arrows move through the destinations.
#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print it once as text
    #[arg(long)]
    once: bool,
    /// Columns and rows of what --once prints [default: those of the terminal, else 80x24]
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = size, requires = "once")]
    size: Option<(u16, u16)>,
}

impl Top {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let mut view = View { is_coloured: is_coloured(&io::stdout()), ..View::default() };
        // Whatever is wrong with the address or the token is said before the screen changes.
        let overview = self.overview().await?;
        if self.once {
            let terminal =
                console::Term::stdout().size_checked().map(|(rows, columns)| (columns, rows));
            let (columns, rows) = self.size.or(terminal).unwrap_or(SIZE);
            let mut terminal =
                Terminal::new(TestBackend::new(columns, rows)).map_err(Failure::failed)?;
            terminal.draw(|frame| draw(frame, &overview, &mut view)).map_err(Failure::failed)?;
            print(&text(terminal.backend().buffer()))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let text = "top needs a terminal; --once prints the overview as text";
            return Err(Failure::usage(text));
        }
        view.has_keys = true;
        // It restores the screen at a panic, too.
        let mut terminal = ratatui::try_init()?;
        let shown = self.show(&mut terminal, overview, view).await;
        ratatui::try_restore()?;
        shown.map(|()| ExitCode::SUCCESS)
    }

    async fn show(
        &self,
        terminal: &mut ratatui::DefaultTerminal,
        mut overview: Overview,
        mut view: View,
    ) -> Result<(), Failure> {
        let mut keys = keys()?;
        // Apart from the keys, because a wilco that hangs answers late or never.
        let mut newer = Box::pin(self.newer());
        loop {
            terminal.draw(|frame| draw(frame, &overview, &mut view))?;
            tokio::select! {
                key = keys.recv() => match key {
                    Some(Key::Quit) | None => return Ok(()),
                    Some(Key::Pause) => {
                        view.is_paused = !view.is_paused;
                        newer.set(self.newer());
                    }
                    Some(Key::Up) => view.first = view.first.saturating_sub(1),
                    Some(Key::Down) => view.first += 1,
                    Some(Key::Resize) => {}
                },
                answer = &mut newer, if !view.is_paused => {
                    match answer {
                        Ok(newer) => (overview, view.away) = (newer, None),
                        // It may be restarting, so the last figures stay.
                        Err(failure) => view.away = Some(failure.text),
                    }
                    newer.set(self.newer());
                }
            }
        }
    }

    async fn newer(&self) -> Result<Overview, Failure> {
        sleep(INTERVAL).await;
        self.overview().await
    }

    async fn overview(&self) -> Result<Overview, Failure> {
        let server = self.remote.server()?;
        let answer = server.ask(Method::GET, "/api/v1/overview", Bytes::new()).await?;
        match answer.status.is_success() {
            true => Ok(serde_json::from_slice(&answer.body)?),
            false => Err(refusal(answer.status, &answer.body)),
        }
    }
}

/// What is on a screen, line by line.
fn text(screen: &Buffer) -> String {
    let width = usize::from(screen.area.width).max(1);
    let lines = screen.content.chunks(width).map(|cells| {
        let (mut line, mut at) = (String::new(), 0);
        while let Some(cell) = cells.get(at) {
            line.push_str(cell.symbol());
            // A wide character also takes the next cell, which is empty.
            at += measure_text_width(cell.symbol()).max(1);
        }
        format!("{}\n", line.trim_end())
    });
    let text: String = lines.collect();
    format!("{}\n", text.trim_end())
}

/// `80x24`
fn size(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("invalid size {text:?}: expected columns and rows, such as 80x24");
    let (columns, rows) = text.split_once('x').ok_or_else(wrong)?;
    let number = |text: &str| text.parse().ok().filter(|number| (1..=1_000).contains(number));
    number(columns).zip(number(rows)).ok_or_else(wrong)
}

const SIZE: (u16, u16) = (80, 24);
const INTERVAL: Duration = Duration::from_secs(1);
