//! An answer, read from the connection as a plain client would.

use std::io::{BufRead as _, BufReader, ErrorKind, Read};

/// An answer as it arrived on the connection.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// All answers until the other side closes.
    pub(crate) fn read_all(stream: impl Read) -> Vec<Self> {
        Self::try_read_all(stream).unwrap()
    }

    /// As [`Reply::read_all`], but the other side may not close.
    pub(crate) fn try_read_all(stream: impl Read) -> std::io::Result<Vec<Self>> {
        let mut stream = BufReader::new(stream);
        let mut replies = Vec::new();
        loop {
            match stream.fill_buf() {
                Ok([]) => return Ok(replies),
                Ok(_) => replies.push(Self::read(&mut stream)?),
                // A signal for another test ends a read that has a time limit.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn read(stream: &mut impl std::io::BufRead) -> std::io::Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no answer: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Self { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The message in the JSON body.
    pub(crate) fn message(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["message"].as_str().unwrap_or_default().into()
    }
}
