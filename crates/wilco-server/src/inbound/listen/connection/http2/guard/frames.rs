//! Follows the frames that a client sends, without their content: what is begun has to be completed,
//! and frames that cost the client nothing are limited.

use std::time::Duration;

use tokio::time::Instant;

use crate::inbound::listen::connection::HTTP2_PREFACE as PREFACE;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameFault {
    /// Too many frames that carry nothing.
    #[error("too many control frames")]
    Flood,
    /// Too many requests that were cancelled.
    #[error("too many streams were reset")]
    Resets,
    /// The preface, a head or a control frame was not complete in time.
    #[error("a frame was not complete in time")]
    TooSlow,
    /// The client reads nothing.
    #[error("nothing was read in time")]
    NotReading,
}

impl FrameFault {
    /// The label of the metric.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Resets => "resets",
            Self::TooSlow => "too_slow",
            Self::NotReading => "not_reading",
        }
    }
}

/// Where in the frames of a connection its next byte is.
pub(super) struct Frames {
    preface_left: usize,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    payload_left: usize,
    /// Whether a head was begun and not ended, so that only a continuation may follow.
    is_in_head: bool,
    /// When what is incomplete was begun. The content of a body has limits of its own.
    begun: Option<Instant>,
    window_began: Instant,
    control_frames: u32,
    resets: u32,
}

impl Frames {
    /// The start of a connection, which has to begin with the preface.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            preface_left: PREFACE.len(),
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            payload_left: 0,
            is_in_head: false,
            begun: Some(now),
            window_began: now,
            control_frames: 0,
            resets: 0,
        }
    }

    /// Until when what is incomplete has to be completed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.begun.map(|begun| begun + FRAME_TIMEOUT)
    }

    /// Follows the bytes that arrived.
    pub(super) fn follow(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), FrameFault> {
        while !bytes.is_empty() {
            if self.preface_left > 0 {
                skip(&mut bytes, &mut self.preface_left);
            } else if self.payload_left > 0 {
                skip(&mut bytes, &mut self.payload_left);
            } else {
                self.begun.get_or_insert(now);
                let take = bytes.len().min(HEADER_BYTES - self.header_bytes);
                let (part, rest) = bytes.split_at(take);
                self.header[self.header_bytes..][..take].copy_from_slice(part);
                self.header_bytes += take;
                bytes = rest;
                if self.header_bytes < HEADER_BYTES {
                    break;
                }
                self.header_bytes = 0;
                self.begin_frame(now)?;
            }
            let is_complete = self.preface_left == 0 && self.payload_left == 0;
            let is_body = self.preface_left == 0 && self.header[3] == DATA;
            if !self.is_in_head && (is_complete || is_body) {
                self.begun = None;
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self, now: Instant) -> Result<(), FrameFault> {
        let [a, b, c, kind, flags, ..] = self.header;
        self.payload_left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            HEADERS | CONTINUATION => self.is_in_head = flags & END_HEADERS == 0,
            DATA if self.payload_left > 0 || flags & END_STREAM != 0 => {}
            RST_STREAM => return self.count(now, FrameFault::Resets),
            _ => return self.count(now, FrameFault::Flood),
        }
        Ok(())
    }

    fn count(&mut self, now: Instant, fault: FrameFault) -> Result<(), FrameFault> {
        if now.duration_since(self.window_began) >= CONTROL_WINDOW {
            (self.window_began, self.control_frames, self.resets) = (now, 0, 0);
        }
        let (counted, most) = match fault {
            FrameFault::Resets => (&mut self.resets, RESETS_MAX),
            _ => (&mut self.control_frames, CONTROL_FRAMES_MAX),
        };
        *counted += 1;
        if *counted > most { Err(fault) } else { Ok(()) }
    }
}

fn skip(bytes: &mut &[u8], left: &mut usize) {
    let take = bytes.len().min(*left);
    *bytes = &bytes[take..];
    *left -= take;
}

/// From the first byte of the preface, of a head, or of a frame without content, to its last.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which [`CONTROL_FRAMES_MAX`] and [`RESETS_MAX`] are counted.
const CONTROL_WINDOW: Duration = Duration::from_secs(10);
/// Frames other than heads and content: settings, pings, priorities, window updates, unknown ones,
/// and content of no length.
const CONTROL_FRAMES_MAX: u32 = 1_000;
/// Streams that the client may reset. Each is a request that costs nothing to cancel.
const RESETS_MAX: u32 = 100;

const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, bytes: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, bytes, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + usize::from(bytes), b'x');
        frame
    }

    /// Whether something is incomplete after the preface and these bytes, however they are split.
    fn is_begun(bytes: &[u8]) -> bool {
        let now = Instant::now();
        let all = [PREFACE, bytes].concat();
        let mut found: Vec<_> = (0..=all.len())
            .map(|cut| {
                let mut frames = Frames::new(now);
                frames.follow(&all[..cut], now).unwrap();
                frames.follow(&all[cut..], now).unwrap();
                frames.due().is_some()
            })
            .collect();
        found.dedup();
        assert_eq!(found.len(), 1, "{bytes:?}");
        found[0]
    }

    #[test]
    fn a_head_or_control_frame_is_incomplete_until_its_last_byte_and_content_is_not() {
        let (settings, head) = (frame(4, 0, 6), frame(HEADERS, END_HEADERS, 20));
        let open = frame(HEADERS, 0, 20);
        for (bytes, expected) in [
            (vec![], false),
            (settings.clone(), false),
            (settings[..3].to_vec(), true),
            (settings[..12].to_vec(), true),
            ([settings, head.clone()].concat(), false),
            (head[..28].to_vec(), true),
            (open.clone(), true),
            ([open.clone(), frame(CONTINUATION, 0, 0)].concat(), true),
            ([open, frame(CONTINUATION, END_HEADERS, 9)].concat(), false),
            (frame(DATA, 0, 100)[..50].to_vec(), false),
            (frame(DATA, 0, 100)[..5].to_vec(), true),
        ] {
            assert_eq!(is_begun(&bytes), expected, "{bytes:?}");
        }
        let (now, mut frames) = (Instant::now(), Frames::new(Instant::now()));
        frames.follow(&PREFACE[..23], now).unwrap();
        assert!(frames.due().is_some());
    }

    #[test]
    fn what_was_begun_has_its_time_from_its_first_byte() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut frames = Frames::new(now);
        assert_eq!(frames.due(), Some(now + FRAME_TIMEOUT));
        frames.follow(PREFACE, now + second).unwrap();
        assert_eq!(frames.due(), None);
        for (number, byte) in frame(HEADERS, 0, 3).into_iter().enumerate() {
            let late = u32::try_from(number).unwrap() + 2;
            frames.follow(&[byte], now + second * late).unwrap();
            assert_eq!(frames.due(), Some(now + second * 2 + FRAME_TIMEOUT));
        }
    }

    #[test]
    fn frames_that_cost_nothing_are_limited_in_each_window() {
        for (frame, most, expected) in [
            (frame(4, 0, 0), 1_000, FrameFault::Flood),
            (frame(4, 1, 0), 1_000, FrameFault::Flood),
            (frame(6, 0, 8), 1_000, FrameFault::Flood),
            (frame(2, 0, 5), 1_000, FrameFault::Flood),
            (frame(8, 0, 4), 1_000, FrameFault::Flood),
            (frame(0xbe, 0, 0), 1_000, FrameFault::Flood),
            (frame(DATA, 0, 0), 1_000, FrameFault::Flood),
            (frame(RST_STREAM, 0, 4), 100, FrameFault::Resets),
        ] {
            let now = Instant::now();
            let mut frames = Frames::new(now);
            frames.follow(PREFACE, now).unwrap();
            for window in 0..3 {
                let now = now + CONTROL_WINDOW * window;
                assert_eq!(frames.follow(&frame.repeat(most), now), Ok(()), "{frame:?}");
            }
            let last = now + CONTROL_WINDOW * 2;
            assert_eq!(frames.follow(&frame, last), Err(expected), "{frame:?}");
        }
        let (now, mut frames) = (Instant::now(), Frames::new(Instant::now()));
        frames.follow(PREFACE, now).unwrap();
        let request = [frame(HEADERS, END_HEADERS, 9), frame(DATA, END_STREAM, 0)].concat();
        assert_eq!(frames.follow(&request.repeat(5_000), now), Ok(()));
    }
}
