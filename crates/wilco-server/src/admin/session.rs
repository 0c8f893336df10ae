//! Sessions of the dashboard: the one-time codes that begin them, and the cookies that carry them.
//!
//! A cookie holds the whole session and a MAC of it, with a key that is derived from the admin token. So a
//! session survives a restart and ends with the token, and there is nothing to store.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use wilco::Secret;

use super::{Problem, Role};

/// Who looks at the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) role: Role,
    /// In seconds since 1970.
    ends_at: i64,
    nonce: String,
}

/// Makes sessions and recognises them.
pub(crate) struct Sessions {
    key: hmac::Key,
    cookie_name: String,
    codes: Mutex<Vec<Code>>,
}

/// What begins one session.
struct Code {
    text: String,
    role: Role,
    ends_at: Instant,
}

impl Sessions {
    /// The sessions that this token signs.
    pub(crate) fn new(token: &Secret) -> Self {
        let token = hmac::Key::new(hmac::HMAC_SHA256, token.expose());
        let key = hmac::sign(&token, b"wilco dashboard sessions");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        // A browser sends a cookie to every port of a host. The name keeps one wilco from ending the
        // sessions of another.
        let id = hmac::sign(&key, b"name of the cookie");
        let mut cookie_name = String::from("wilco_session_");
        for byte in &id.as_ref()[..4] {
            // Writing to a text in memory does not fail.
            let _ = write!(cookie_name, "{byte:02x}");
        }
        Self { key, cookie_name, codes: Mutex::default() }
    }

    /// A new code that begins one session within [`CODE_LIFETIME`]. The oldest of too many codes is forgotten.
    pub(crate) fn open(&self, role: Role, now: Instant) -> Result<String, Problem> {
        let text = random()?;
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|code| now < code.ends_at);
        if codes.len() == CODES_MAX {
            codes.remove(0);
        }
        codes.push(Code { text: text.clone(), role, ends_at: now + CODE_LIFETIME });
        Ok(text)
    }

    /// The session that a code begins. Each code begins one.
    pub(crate) fn begin(
        &self,
        code: &str,
        now: Instant,
        today: Timestamp,
    ) -> Result<Option<Session>, Problem> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|open| now < open.ends_at);
        let is_it = |open: &Code| bool::from(open.text.as_bytes().ct_eq(code.as_bytes()));
        let Some(found) = codes.iter().position(is_it) else { return Ok(None) };
        let role = codes.remove(found).role;
        let ends_at = (today + SESSION_LIFETIME).as_second();
        Ok(Some(Session { role, ends_at, nonce: random()? }))
    }

    /// The cookie of a session, as `Set-Cookie` has it.
    pub(crate) fn cookie(&self, session: &Session, is_https: bool) -> String {
        let payload = session.payload();
        let mac = self.mac("session", &payload);
        let (name, age) = (&self.cookie_name, SESSION_LIFETIME.as_secs());
        let secure = if is_https { "; Secure" } else { "" };
        format!("{name}={payload}.{mac}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
    }

    /// What makes the browser forget the cookie.
    pub(crate) fn expired_cookie(&self) -> String {
        format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", self.cookie_name)
    }

    /// The session of a request, if it has not ended.
    pub(crate) fn session_of(&self, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
        let (payload, mac) = cookie(headers, &self.cookie_name)?.rsplit_once('.')?;
        if !self.is_mac(mac, "session", payload) {
            return None;
        }
        Session::parse(payload).filter(|session| now.as_second() < session.ends_at)
    }

    /// What every form of this session carries. Another page cannot read it.
    pub(crate) fn form_token(&self, session: &Session) -> String {
        self.mac("form", &session.payload())
    }

    /// Whether a form carries the token of this session.
    pub(crate) fn is_form_token(&self, shown: &str, session: &Session) -> bool {
        self.is_mac(shown, "form", &session.payload())
    }

    fn mac(&self, purpose: &str, text: &str) -> String {
        let mac = hmac::sign(&self.key, format!("{purpose} {text}").as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(mac)
    }

    fn is_mac(&self, shown: &str, purpose: &str, text: &str) -> bool {
        let Ok(shown) = BASE64_URL_SAFE_NO_PAD.decode(shown) else { return false };
        hmac::verify(&self.key, format!("{purpose} {text}").as_bytes(), &shown).is_ok()
    }
}

impl Session {
    fn payload(&self) -> String {
        format!("{}.{}.{}", self.role.as_str(), self.ends_at, self.nonce)
    }

    fn parse(payload: &str) -> Option<Self> {
        let mut parts = payload.split('.');
        let (role, ends_at, nonce) = (parts.next()?, parts.next()?, parts.next()?);
        let role = Role::parse(role)?;
        Some(Self { role, ends_at: ends_at.parse().ok()?, nonce: nonce.into() })
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let pairs = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn random() -> Result<String, Problem> {
    let mut bytes = [0; CODE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

const CODE_BYTES: usize = 16;
/// Codes that have not begun a session yet.
const CODES_MAX: usize = 16;
/// From the code to the session.
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// From the login to the next one.
const SESSION_LIFETIME: SignedDuration = SignedDuration::from_hours(12);

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(token: &str) -> Sessions {
        Sessions::new(&Secret::new("test", token.into()).unwrap())
    }

    fn with_cookie(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        [(header::COOKIE, format!("other=1; {pair}").parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_code_begins_one_session_within_its_lifetime() {
        let (sessions, now) = (sessions("the admin token"), Instant::now());
        let today = Timestamp::UNIX_EPOCH;
        let begin = |code: &str, after| sessions.begin(code, now + after, today).unwrap();
        let code = sessions.open(Role::Reader, now).unwrap();
        assert_eq!(begin("", Duration::ZERO), None);
        assert_eq!(begin(&code[1..], Duration::ZERO), None);
        let session = begin(&code, CODE_LIFETIME - Duration::from_secs(1)).unwrap();
        assert_eq!(session.role, Role::Reader);
        assert_eq!(begin(&code, Duration::ZERO), None, "only once");
        let code = sessions.open(Role::Operator, now).unwrap();
        assert_eq!(begin(&code, CODE_LIFETIME), None, "too late");
    }

    #[test]
    fn the_oldest_of_too_many_codes_is_forgotten() {
        let (sessions, now) = (sessions("the admin token"), Instant::now());
        let open = || sessions.open(Role::Reader, now).unwrap();
        let codes: Vec<_> = (0..=CODES_MAX).map(|_| open()).collect();
        let begun = codes.iter().map(|code| sessions.begin(code, now, Timestamp::UNIX_EPOCH));
        let begun: Vec<_> = begun.map(|session| session.unwrap().is_some()).collect();
        assert_eq!(begun, [vec![false], vec![true; CODES_MAX]].concat());
    }

    #[test]
    fn a_session_ends_after_its_lifetime_or_with_the_token() {
        let (sessions, now) = (sessions("the admin token"), Timestamp::UNIX_EPOCH);
        let code = sessions.open(Role::Operator, Instant::now()).unwrap();
        let session = sessions.begin(&code, Instant::now(), now).unwrap().unwrap();
        let headers = with_cookie(&sessions.cookie(&session, false));
        let second = SignedDuration::from_secs(1);
        let again = self::sessions("the admin token");
        assert_eq!(again.session_of(&headers, now + SESSION_LIFETIME - second), Some(session));
        assert_eq!(sessions.session_of(&headers, now + SESSION_LIFETIME), None);
        assert_eq!(self::sessions("another token").session_of(&headers, now), None);
    }

    #[test]
    fn a_changed_cookie_is_no_session() {
        let (sessions, now) = (sessions("the admin token"), Timestamp::UNIX_EPOCH);
        let code = sessions.open(Role::Reader, Instant::now()).unwrap();
        let session = sessions.begin(&code, Instant::now(), now).unwrap().unwrap();
        let cookie = sessions.cookie(&session, false);
        let pair = cookie.split(';').next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        let parts: Vec<_> = value.split('.').collect();
        let [role, ends_at, nonce, mac] = parts[..] else { panic!("{value}") };
        let form = sessions.form_token(&session);
        assert!(sessions.session_of(&with_cookie(pair), now).is_some());
        for changed in [
            String::new(),
            format!("operator.{ends_at}.{nonce}.{mac}"),
            format!("{role}.9{ends_at}.{nonce}.{mac}"),
            format!("{role}.{ends_at}.{nonce}x.{mac}"),
            format!("{role}.{ends_at}.{nonce}.{}", &mac[1..]),
            format!("{role}.{ends_at}.{nonce}.A{}", &mac[1..]),
            format!("{role}.{ends_at}.{nonce}."),
            format!("{role}.{ends_at}.{nonce}"),
            format!("{role}.{ends_at}.{nonce}.{form}"),
            format!("{role}.{ends_at}.{nonce}.{mac}.{mac}"),
            format!("{mac}.{role}.{ends_at}.{nonce}"),
        ] {
            let headers = with_cookie(&format!("{name}={changed}"));
            let found = sessions.session_of(&headers, now);
            // The first letter may have been A.
            assert!(found.is_none() || changed == value, "{changed}");
        }
    }

    #[test]
    fn the_token_of_a_form_belongs_to_its_session() {
        let sessions = sessions("the admin token");
        let begin = || {
            let code = sessions.open(Role::Operator, Instant::now()).unwrap();
            let today = Timestamp::UNIX_EPOCH;
            sessions.begin(&code, Instant::now(), today).unwrap().unwrap()
        };
        let (one, other) = (begin(), begin());
        assert!(sessions.is_form_token(&sessions.form_token(&one), &one));
        for wrong in
            ["", "AAAA", &sessions.form_token(&other), &sessions.mac("session", &one.payload())]
        {
            assert!(!sessions.is_form_token(wrong, &one), "{wrong}");
        }
    }
}
