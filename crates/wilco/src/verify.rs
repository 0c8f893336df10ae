//! Whether a request really comes from the provider. No other code decides that.
//!
//! A request is verified while it arrives: [`Scheme::begin`] reads the claimed signature from the
//! head, [`Verifier::update`] takes each chunk of the body, and [`Verifier::finish`] decides. The
//! verifier owns the head and the chunks that it was given, so that nothing else can be called
//! verified. Nothing is copied, and one pass over the body computes both the signatures and
//! the digest. Chunks of a large body need not stay in memory: [`Verifier::take_kept`] hands them over
//! to be stored.

mod scheme;

use std::io::ErrorKind::UnexpectedEof;

use aws_lc_rs::digest;
use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    Arrival, Body, Digest, Head, SourceName, body::InMemory, mismatch::Mismatch, place::Half,
};
use scheme::{Stream, Values};

pub use scheme::{
    Algorithm, Encoding, Key, KeyError, KeyText, Scheme, SignError, TimestampUnit, Unsigned,
    standard_webhooks_key,
};

/// Verifies a request that has arrived completely.
///
/// # Errors
///
/// [`Refused`], which says what is wrong with the signature, and gives the request back.
pub fn verify(
    scheme: &Scheme,
    source: &SourceName,
    keys: &[Key],
    arrival: Arrival,
) -> Result<Verified, Box<Refused>> {
    let Arrival { received_at, head, body } = arrival;
    let mut verifier = scheme.begin(head, keys, received_at);
    for chunk in body.chunks() {
        match chunk {
            Ok(chunk) => verifier.compute(&chunk),
            Err(error) => verifier.computation = Err(Mismatch::unread(&error)),
        }
    }
    verifier.finish_stored(source, received_at, body)
}

impl Scheme {
    /// Begins to verify a request that has this head, at this time. If the head alone shows that
    /// the signature cannot be right, [`Verifier::finish`] says so, because the refused request
    /// includes its body.
    pub fn begin<'k>(&'k self, head: Head, keys: &'k [Key], now: Timestamp) -> Verifier<'k> {
        let computation = Computation::begin(self, &head, keys);
        let body = InMemory::default();
        Verifier { scheme: self, keys, now, head, body, bytes: 0, computation }
    }
}

/// A request whose body is arriving.
#[must_use]
pub struct Verifier<'k> {
    scheme: &'k Scheme,
    keys: &'k [Key],
    now: Timestamp,
    head: Head,
    /// What was not handed over to be stored.
    body: InMemory,
    /// All that it was given.
    bytes: usize,
    computation: Result<Computation, Mismatch>,
}

impl Verifier<'_> {
    /// Takes the next chunk of the body.
    pub fn update(&mut self, chunk: Bytes) {
        self.compute(&chunk);
        self.body.push(chunk);
    }

    /// Gives back the chunks that it holds, for a caller who stores all of them elsewhere and calls
    /// [`finish_stored`](Self::finish_stored).
    pub fn take_kept(&mut self) -> Body {
        std::mem::take(&mut self.body).into()
    }

    fn compute(&mut self, chunk: &[u8]) {
        if let Ok(computation) = &mut self.computation {
            computation.update(chunk);
        }
        self.bytes += chunk.len();
    }

    /// Decides, after the last chunk of the body, which was received at this time.
    ///
    /// # Errors
    ///
    /// [`Refused`], which says what is wrong with the signature, and gives the request back.
    pub fn finish(
        mut self,
        source: &SourceName,
        received_at: Timestamp,
    ) -> Result<Verified, Box<Refused>> {
        let body = self.take_kept();
        self.finish_stored(source, received_at, body)
    }

    /// Decides as [`finish`](Self::finish) does. `body` holds the chunks that
    /// [`take_kept`](Self::take_kept) gave back, in their order. It may be read again, if the provider
    /// signs something else than the bytes as they are.
    ///
    /// # Errors
    ///
    /// [`Refused`], also if `body` is longer or shorter than what was verified.
    pub fn finish_stored(
        self,
        source: &SourceName,
        received_at: Timestamp,
        body: Body,
    ) -> Result<Verified, Box<Refused>> {
        let Self { scheme, keys, now, head, body: _, bytes, computation } = self;
        let computation = computation.and_then(|computation| match () {
            () if body.len() != bytes => Err(Mismatch::unread(&UnexpectedEof.into())),
            () if body.is_stored() && scheme.needs_whole_body() => {
                body.in_one_piece().map_err(|error| Mismatch::unread(&error))?;
                Ok(computation)
            }
            () => Ok(computation),
        });
        let decided =
            computation.and_then(|computation| computation.decide(scheme, keys, now, &body));
        match decided {
            Ok((secret_name, digest)) => {
                // A secret that came along has done its work: nobody who reads the record gets it.
                let head = Head { headers: scheme.without_sent_secret(head.headers), ..head };
                let arrival = Arrival { received_at, head, body };
                Ok(Verified { source: source.clone(), secret_name, digest, arrival })
            }
            Err(mismatch) => {
                let arrival = Arrival { received_at, head, body };
                Err(Box::new(Refused { mismatch, arrival }))
            }
        }
    }
}

/// The signatures and the digest of a request, computed while its body arrives.
///
/// Every key is tried even after one has matched, and signatures are compared in constant time: the
/// time that the answer takes does not tell which of two rotating secrets is the current one.
struct Computation {
    /// `None` if the claimed signatures are in the body.
    claimed: Option<Vec<Vec<u8>>>,
    values: Values,
    body_sha256: Option<Vec<u8>>,
    /// One for each template of each key. `None` if that needs the whole message.
    streams: Vec<Option<Stream>>,
    digest: digest::Context,
}

impl Computation {
    fn begin(scheme: &Scheme, head: &Head, keys: &[Key]) -> Result<Self, Mismatch> {
        let claimed = match scheme.signature.is_in_body() {
            true => None,
            false => Some(scheme.claimed_signatures(Half::Head(head))?),
        };
        let values = scheme.values(head)?;
        scheme.signed_at(&values)?;
        let body_sha256 =
            scheme.body_sha256.as_ref().and_then(|place| place.value(Half::Head(head)).ok());
        let pairs =
            keys.iter().flat_map(|key| scheme.signed.iter().map(move |signed| (key, signed)));
        let streams = pairs.map(|(key, signed)| Scheme::stream(signed, &values, key)).collect();
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Self { claimed, values, body_sha256, streams, digest })
    }

    fn update(&mut self, chunk: &[u8]) {
        for stream in self.streams.iter_mut().flatten() {
            stream.update(chunk);
        }
        self.digest.update(chunk);
    }

    /// The name of the secret that matched, and the digest of the body.
    fn decide(
        self,
        scheme: &Scheme,
        keys: &[Key],
        now: Timestamp,
        body: &Body,
    ) -> Result<(String, Digest), Mismatch> {
        let Self { claimed, mut values, mut body_sha256, streams, digest } = self;
        let digest = Digest::finish(digest);
        let claimed = match claimed {
            Some(claimed) => claimed,
            None => scheme.claimed_signatures(Half::Body(body))?,
        };
        scheme.complete(&mut values, body)?;
        values.digest = Some(digest);
        let signed_at = scheme.signed_at(&values)?;
        let mut streams = streams.into_iter();
        // Counted, because a branch would take another time for the first key than for the last.
        let (mut has_matched, mut before) = (false, 0);
        for key in keys {
            for signed in &scheme.signed {
                let stream = streams.next().flatten();
                has_matched |= Scheme::matches(signed, stream, (&values, key), body, &claimed);
            }
            before += usize::from(!has_matched);
        }
        let key = keys.get(before).ok_or(Mismatch::Wrong)?;
        scheme.in_time(signed_at, now)?;
        if let Some(claims) = scheme.claims(&claimed) {
            claims.in_time(now, scheme.leeway_secs())?;
            body_sha256 = scheme.body_claim(&claims);
        }
        scheme.check_body(&values, body_sha256.as_deref(), &digest, body)?;
        Ok((key.name().to_owned(), digest))
    }
}

/// Proof that a request carries a right signature. Only this module makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    source: SourceName,
    secret_name: String,
    digest: Digest,
    arrival: Arrival,
}

impl Verified {
    /// The source that it was verified for.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The name of the first secret that matched.
    pub fn secret_name(&self) -> &str {
        &self.secret_name
    }

    /// SHA-256 of the body.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What arrived, without the secret if the provider sent that along.
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// What arrived, to be kept.
    pub fn into_arrival(self) -> Arrival {
        self.arrival
    }
}

/// A request that could not be verified, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{mismatch}")]
pub struct Refused {
    /// What is wrong with its signature.
    pub mismatch: Mismatch,
    /// The request, as it was handed in.
    pub arrival: Arrival,
}

#[cfg(test)]
mod tests;
