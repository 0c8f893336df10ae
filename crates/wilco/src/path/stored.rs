//! The same for a body that is not in memory: first its syntax is checked, then its values are looked for.
//! Both read it chunk by chunk, so that only the values that are wanted are in memory.

use std::io::{self, BufRead, BufReader};

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Path, Step, Text};
use crate::Body;

/// As [`values`](super::values), of a stored body.
///
/// # Errors
///
/// If the body is not one object or, with `is_array_allowed`, one array. It is an I/O error if the body
/// cannot be read, and one of the kind `InvalidData` if it is not UTF-8.
pub(crate) fn stored_values(
    body: &Body,
    paths: &[&Path],
    is_array_allowed: bool,
) -> Result<Vec<Option<String>>, serde_json::Error> {
    check(body, is_array_allowed)?;
    let mut found = vec![None; paths.len()];
    let wanted: Vec<_> = paths.iter().enumerate().map(|(at, path)| (at, &path.0[..])).collect();
    let mut scan = Scan { input: body.reader(), found: &mut found };
    scan.value(&wanted).map_err(serde_json::Error::io)?;
    Ok(found)
}

/// Checks that a body is JSON in UTF-8, and of the kind that is expected.
fn check(body: &Body, is_array_allowed: bool) -> Result<(), serde_json::Error> {
    if !body.is_utf8().map_err(serde_json::Error::io)? {
        return Err(serde_json::Error::io(io::ErrorKind::InvalidData.into()));
    }
    let mut input = body.reader();
    let first = next_byte(&mut input).map_err(serde_json::Error::io)?;
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(body.reader()));
    match is_array_allowed && first == Some(b'[') {
        true => reader.deserialize_seq(Syntax)?,
        false => reader.deserialize_map(Syntax)?,
    }
    reader.end()
}

/// An object or an array of which nothing is kept.
struct Syntax;

impl<'b> Visitor<'b> for Syntax {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Looks for values in a text that is known to be JSON.
struct Scan<'f, R> {
    input: R,
    found: &'f mut [Option<String>],
}

type Wanted<'p> = [(usize, &'p [Step])];

impl<R: BufRead> Scan<'_, R> {
    /// Reads a value, and takes from it what is wanted: the steps that lead to each begin here.
    fn value(&mut self, wanted: &Wanted<'_>) -> io::Result<()> {
        for (place, _) in wanted {
            self.found[*place] = None;
        }
        if wanted.is_empty() {
            return self.skip();
        }
        match next_byte(&mut self.input)? {
            Some(b'{') => self.members(wanted),
            Some(b'[') => self.items(wanted),
            _ => {
                let scalar = self.scalar()?;
                for (place, _) in wanted.iter().filter(|(_, steps)| steps.is_empty()) {
                    self.found[*place].clone_from(&scalar);
                }
                Ok(())
            }
        }
    }

    fn members(&mut self, wanted: &Wanted<'_>) -> io::Result<()> {
        self.input.consume(1);
        loop {
            match next_byte(&mut self.input)? {
                Some(b'"') => {
                    let name = text(&self.string()?);
                    let is_here = |step: &Step| matches!((step, &name), (Step::Member(member), Some(name)) if member == name);
                    let inner = step_into(wanted, is_here);
                    next_byte(&mut self.input)?; // the colon
                    self.input.consume(1);
                    self.value(&inner)?;
                }
                Some(b',') => self.input.consume(1),
                _ => return self.end(),
            }
        }
    }

    fn items(&mut self, wanted: &Wanted<'_>) -> io::Result<()> {
        self.input.consume(1);
        let mut number = 0;
        loop {
            match next_byte(&mut self.input)? {
                Some(b',') => self.input.consume(1),
                Some(b']') | None => return self.end(),
                Some(_) => {
                    let inner = step_into(wanted, |step| *step == Step::Item(number));
                    self.value(&inner)?;
                    number += 1;
                }
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.input.consume(1);
        Ok(())
    }

    /// The text of a string, or a number as it is written.
    fn scalar(&mut self) -> io::Result<Option<String>> {
        if next_byte(&mut self.input)? == Some(b'"') {
            return Ok(text(&self.string()?));
        }
        let mut token = Vec::new();
        self.take_while(&mut token, |byte| {
            !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
        })?;
        let is_number = token.first().is_some_and(|byte| matches!(byte, b'-' | b'0'..=b'9'));
        Ok(String::from_utf8(token).ok().filter(|_| is_number))
    }

    /// A string as it is written, with its quotes.
    fn string(&mut self) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        let (mut quotes, mut is_escaped) = (0, false);
        self.take_while(&mut raw, |byte| {
            let is_in = quotes < 2;
            quotes += usize::from(byte == b'"' && !is_escaped);
            is_escaped = byte == b'\\' && !is_escaped;
            is_in
        })?;
        Ok(raw)
    }

    /// Reads past a value.
    fn skip(&mut self) -> io::Result<()> {
        let (mut depth, mut is_in_string, mut is_escaped, mut is_done) =
            (0_usize, false, false, false);
        next_byte(&mut self.input)?;
        self.pass_while(|byte| {
            if is_done {
                return false;
            }
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_in_string => is_escaped = true,
                b'"' => is_in_string = !is_in_string,
                _ if is_in_string => return true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                // The end of a number or a word.
                b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' => return depth > 0,
                _ => return true,
            }
            is_done = depth == 0 && !is_in_string;
            true
        })
    }

    fn take_while(
        &mut self,
        into: &mut Vec<u8>,
        mut is_part: impl FnMut(u8) -> bool,
    ) -> io::Result<()> {
        self.pass_while(|byte| {
            let is_taken = is_part(byte);
            into.extend(is_taken.then_some(byte));
            is_taken
        })
    }

    fn pass_while(&mut self, mut is_part: impl FnMut(u8) -> bool) -> io::Result<()> {
        loop {
            let bytes = self.input.fill_buf()?;
            let count = bytes.iter().position(|byte| !is_part(*byte)).unwrap_or(bytes.len());
            let is_end = count < bytes.len() || bytes.is_empty();
            self.input.consume(count);
            if is_end {
                return Ok(());
            }
        }
    }
}

/// What is wanted of the value at this step.
fn step_into<'p>(wanted: &Wanted<'p>, is_here: impl Fn(&Step) -> bool) -> Vec<(usize, &'p [Step])> {
    let inner = wanted.iter().filter_map(|(place, steps)| match steps {
        [first, rest @ ..] if is_here(first) => Some((*place, rest)),
        _ => None,
    });
    inner.collect()
}

/// The first byte that is not white space, which is not consumed.
fn next_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let count = bytes.len() - bytes.trim_ascii_start().len();
        let byte = bytes.get(count).copied();
        input.consume(count);
        if byte.is_some() {
            return Ok(byte);
        }
    }
}

fn text(raw: &[u8]) -> Option<String> {
    serde_json::from_slice::<Text<'_>>(raw).ok().map(|Text(text)| text.into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{body::tests::Pieces, path::values};

    /// Compares both readers, with a body that is cut at every size.
    fn check_same(json: &[u8], paths: &[&str], is_array_allowed: bool) {
        let paths: Vec<_> =
            paths.iter().map(|path| Path::try_from((*path).to_owned()).unwrap()).collect();
        let paths: Vec<_> = paths.iter().collect();
        let expected = std::str::from_utf8(json).map(|text| {
            let found = values(text, &paths, is_array_allowed);
            found.map(|found| {
                found.into_iter().map(|v| v.map(|v| v.into_owned())).collect::<Vec<_>>()
            })
        });
        for size in 1..=json.len().clamp(1, 40) {
            let pieces = json.chunks(size).map(<[u8]>::to_vec).collect();
            let body = Body::stored(Arc::new(Pieces(pieces)));
            let found: Result<Vec<Option<String>>, _> =
                stored_values(&body, &paths, is_array_allowed);
            let shown = String::from_utf8_lossy(json);
            match (&expected, found) {
                (Ok(Ok(expected)), Ok(found)) => assert_eq!(&found, expected, "{shown}"),
                (Ok(Err(expected)), Err(found)) => {
                    assert_eq!(found.classify(), expected.classify(), "{shown}");
                }
                (Err(_), Err(found)) => assert!(found.is_io(), "{shown}"),
                (expected, found) => panic!("{shown}: {found:?} and not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_stored_body_gives_the_same_values_as_one_in_memory() {
        let paths = ["event", "data.id", "data.items[1].n", "data", "[0].e", "a.b", "s"];
        for json in [
            r#"{"event":"booking.created","data":{"id":"7f","items":[{},{"n":1.50}]}}"#,
            r#" { "data" : { "items" : [ 1 , { "n" : "x" } ] , "id" : -1e5 } , "event" : true } "#,
            r#"{"event":"a","event":"b","data":{"id":1},"data":7,"s":null}"#,
            r#"{"a":{"b":"x"},"a":{"b":{"c":1}},"s":"\"\\\u00e9\ud83c\udfac"}"#,
            r#"{"s":"half \ud83d","\u0065vent":"escaped","data":["id",[["\"]}"]]]}"#,
            r#"{"event":"ä€🎬","s":12345678901234567890123,"data":"{\"id\":1}"}"#,
            r#"[{"e":"first"},{"e":2}]"#,
            "[]",
            "{}",
            r#"{"event":"#,
            r#"{"event":1,}"#,
            r#"{"data":{"items":[1,2}}"#,
            r#"{"a":1} 2"#,
            "7",
            "\"text\"",
            "",
            " ",
        ] {
            for is_array_allowed in [false, true] {
                check_same(json.as_bytes(), &paths, is_array_allowed);
                check_same(json.as_bytes(), &[], is_array_allowed);
            }
        }
        for json in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xe2\x82", b"{\"a\":\"\xe2\"}"] {
            check_same(json, &paths, false);
        }
    }

    #[test]
    fn a_stored_body_that_is_cut_anywhere_or_has_a_changed_byte_is_judged_as_one_in_memory() {
        let json = br#"{"event":"a\"b","data":{"id":[1,{"x":"}]"}],"n":-1.5e3},"t":true}"#;
        for end in 0..json.len() {
            check_same(&json[..end], &["event", "data.id[1].x"], false);
            let mut changed = json.to_vec();
            for byte in *b"\"\\{}[],:1 a" {
                changed[end] = byte;
                check_same(&changed, &["event", "data.id[1].x", "data.n", "t"], false);
            }
        }
    }
}
