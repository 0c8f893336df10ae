//! A client of HTTP/2 that sends frames as a test writes them, right or wrong.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::world::{World, sign};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame from the server.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
    payload: Vec<u8>,
}

/// A connection on which frames are sent and read.
pub(super) struct Client(TcpStream);

impl Client {
    /// Connects and sends nothing.
    pub(super) fn connect(world: &World) -> Self {
        let stream = world.connect();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Connects, and sends the preface, settings and these frames. The settings are that heads are not
    /// compressed with a table.
    pub(super) fn begin(world: &World, frames: &[u8]) -> Self {
        let mut client = Self::connect(world);
        client.send(&[PREFACE, &frame("SETTINGS 00 0 000100000000"), frames].concat());
        client
    }

    /// Sends these bytes. The server may have closed the connection already.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; 9];
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => return Ok(None), // closed, or reset because of bytes that were not read
        }
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        if self.0.read_exact(&mut payload).is_err() {
            return Ok(None); // what came is not HTTP/2
        }
        Ok(Some(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload }))
    }

    /// The next frame of this kind, up to the end of the connection.
    pub(super) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        while let Some(frame) = self.next().unwrap() {
            if frame.kind == kind {
                return Some(frame);
            }
        }
        None
    }

    /// Acknowledges pings for this long. `false` if the connection ends meanwhile.
    pub(super) fn answers_pings_for(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        self.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        while Instant::now() < until {
            match self.next() {
                Ok(Some(Frame { kind: PING, flags: 0, payload, .. })) => {
                    self.send(&[&[0, 0, 8, PING, 1, 0, 0, 0, 0], &payload[..]].concat());
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => return false,
            }
        }
        true
    }

    /// Waits for the end of the connection, for up to `seconds` between two frames.
    pub(super) fn is_closed_within(&mut self, seconds: u64) -> bool {
        self.0.set_read_timeout(Some(Duration::from_secs(seconds))).unwrap();
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl Frame {
    /// What happened to a stream, or to the connection: a status, "reset CODE" or "goaway CODE".
    pub(super) fn outcome(&self) -> Option<String> {
        let code = |at: usize| {
            let code = u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap());
            CODES.get(code as usize).copied().unwrap_or("unknown")
        };
        match self.kind {
            HEADERS => Some(status(&self.payload)),
            RST_STREAM => Some(format!("reset {}", code(0))),
            GOAWAY => Some(format!("goaway {}", code(4))),
            _ => None,
        }
    }
}

/// The status in a head: a field of the static table, or a literal in plain text or Huffman code.
fn status(head: &[u8]) -> String {
    match head {
        [0x20, rest @ ..] => status(rest), // the table has the size 0
        [0x88, ..] => "200".into(),
        [0x8c, ..] => "400".into(),
        [0x8d, ..] => "404".into(),
        [0x48 | 0x08, length, code @ ..] if length & 0x80 != 0 => {
            let bits = code.iter().fold(String::new(), |bits, byte| bits + &format!("{byte:08b}"));
            let (mut rest, mut digits) = (bits.as_str(), String::new());
            while digits.len() < 3 {
                // 0 to 2 have five bits, 3 to 9 have six.
                let short = u8::from_str_radix(&rest[..5], 2).unwrap();
                let long = u8::from_str_radix(&rest[..6], 2).unwrap();
                let (digit, bits) = if short < 3 { (short, 5) } else { (long - 0b011001 + 3, 6) };
                digits.push(char::from(b'0' + digit));
                rest = &rest[bits..];
            }
            digits
        }
        [0x48 | 0x08, 3, a, b, c, ..] => String::from_utf8_lossy(&[*a, *b, *c]).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Frames as text, separated by ";": TYPE FLAGS STREAM PAYLOAD, as `cases.txt` describes.
pub(super) fn frames(text: &str) -> Vec<u8> {
    text.split(';').flat_map(|one| frame(one.trim())).collect()
}

fn frame(text: &str) -> Vec<u8> {
    let mut parts = text.splitn(4, ' ');
    let kind = parts.next().unwrap();
    let kind = match TYPES.iter().position(|name| *name == kind) {
        Some(kind) => u8::try_from(kind).unwrap(),
        None => u8::try_from(number(kind)).unwrap(),
    };
    let flags = u8::from_str_radix(parts.next().unwrap(), 16).unwrap();
    let stream = number(parts.next().unwrap());
    let mut rest = parts.next().unwrap_or_default().trim();
    let mut length = None;
    if let Some(declared) = rest.strip_prefix("length=") {
        let (declared, after) = declared.split_once(' ').unwrap();
        (length, rest) = (Some(number(declared)), after);
    }
    let payload = payload(rest);
    let length = length.unwrap_or(u32::try_from(payload.len()).unwrap());
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn payload(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let text_left @ [first, ..] = text.as_bytes() {
        let end = match first {
            b'<' => text.find('>').unwrap() + 1,
            b'\'' => text[1..].find('\'').unwrap() + 2,
            _ => text_left.iter().position(|byte| b" <".contains(byte)).unwrap_or(text.len()),
        };
        bytes.extend(part(&text[..end]));
        text = text[end..].trim_start();
    }
    bytes
}

fn part(text: &str) -> Vec<u8> {
    if let Some(field) = text.strip_prefix('<') {
        let name_end = 1 + field[1..].find(": ").unwrap();
        let value = &field[name_end + 2..field.len() - 1];
        let value = match value.split_once('*') {
            Some((times, byte)) if !times.is_empty() => byte.repeat(times.parse().unwrap()),
            _ => value.to_owned(),
        };
        return literal(&field[..name_end], &value);
    }
    let target = || [literal(":path", "/webhook"), literal(":authority", "a")].concat();
    match (text, text.split_once('*')) {
        ("GET", _) => [vec![0x82, 0x86], target()].concat(),
        ("POST", _) => [vec![0x83, 0x86], target()].concat(),
        ("SIGNED", _) => literal("x-freispace-signature", &sign(b"{}")),
        (_, Some((times, "FIELD"))) => literal("x", "y").repeat(times.parse().unwrap()),
        (_, Some((times, byte))) => hex(byte).repeat(times.parse().unwrap()),
        _ => match text.strip_prefix('\'') {
            Some(quoted) => quoted.trim_end_matches('\'').into(),
            None => hex(text),
        },
    }
}

/// A header field that is neither compressed nor put into the table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| [integer(text.len()), text.into()].concat();
    [vec![0], string(name), string(value)].concat()
}

/// An integer with a prefix of seven bits.
fn integer(number: usize) -> Vec<u8> {
    let Some(mut rest) = number.checked_sub(127) else {
        return vec![u8::try_from(number).unwrap()];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const TYPES: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];
