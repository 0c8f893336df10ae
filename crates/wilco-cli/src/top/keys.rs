//! The keys that are pressed.

use std::{io, thread};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use tokio::sync::mpsc;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Pause,
    Up,
    Down,
    /// The size of the terminal has changed.
    Resize,
}

/// The keys as they are pressed, read by a thread that ends with the process.
pub(super) fn keys() -> io::Result<mpsc::Receiver<Key>> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    let read_all = move || {
        while let Ok(event) = read() {
            if let Some(key) = key_of(&event)
                && sender.blocking_send(key).is_err()
            {
                return;
            }
        }
    };
    thread::Builder::new().name("wilco-keys".into()).spawn(read_all)?;
    Ok(keys)
}

fn key_of(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resize),
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(KeyEvent {
            code: KeyCode::Char('c'), modifiers: KeyModifiers::CONTROL, ..
        }) => Some(Key::Quit),
        Event::Key(KeyEvent { code, .. }) => match code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('p' | ' ') => Some(Key::Pause),
            KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
            KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
            _ => None,
        },
        _ => None,
    }
}

const KEYS_MAX: usize = 16;
