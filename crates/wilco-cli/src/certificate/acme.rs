//! Obtains certificates by ACME (RFC 8555).

mod http;

use std::time::Duration;

use async_trait::async_trait;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeHandle,
    ChallengeType, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem,
    RetryPolicy,
};
use jiff::Timestamp;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::Der;
use wilco_server::service::{
    AcmeClient, AcmeError, AcmeOrder, Challenges, Issued, SelfSigned, Suggestion,
};
use x509_cert::{der::Decode as _, ext::pkix::AuthorityKeyIdentifier};

use http::Http;

pub(crate) use http::check_directory;

/// The ACME client of the command line.
pub(crate) struct InstantAcme;

#[async_trait]
impl AcmeClient for InstantAcme {
    async fn obtain(&self, order: &AcmeOrder<'_>) -> Result<Issued, AcmeError> {
        let http = Http::new(order.acme).map_err(|error| failed(&error, None))?;
        let result = match obtain(&http, order).await {
            // The authority has lost the account, or closed it.
            Err(Error::Api(problem)) if has_type(&problem, "accountDoesNotExist") => {
                match create_account(&http, order).await {
                    Ok(account) => obtain_with(&account, order).await,
                    Err(error) => Err(error),
                }
            }
            result => result,
        };
        result.map_err(|error| failed(&error, http.retry_after()))
    }

    async fn suggestion(&self, order: &AcmeOrder<'_>) -> Result<Option<Suggestion>, AcmeError> {
        let http = Http::new(order.acme).map_err(|error| failed(&error, None))?;
        let Some(id) = order.replaces.and_then(identifier) else { return Ok(None) };
        let asked = async { open_account(&http, order).await?.renewal_info(&id).await };
        match asked.await {
            Ok((info, again)) => {
                let window = info.suggested_window;
                let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
                let time = |secs| Timestamp::from_second(secs).unwrap_or(Timestamp::MAX);
                Ok(Some(Suggestion { start: time(start), end: time(end), ask_again_after: again }))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(failed(&error, http.retry_after())),
        }
    }
}

async fn obtain(http: &Http, order: &AcmeOrder<'_>) -> Result<Issued, Error> {
    let account = open_account(http, order).await?;
    obtain_with(&account, order).await
}

async fn obtain_with(account: &Account, order: &AcmeOrder<'_>) -> Result<Issued, Error> {
    let domains = &order.acme.domains;
    let mut placed = place(account, order).await?;
    answer_challenges(&mut placed, order).await?;
    match placed.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(Error::Api(_)) => return Err(refusal(&mut placed).await),
        Err(error) => return Err(error),
    }
    let key = KeyPair::generate().map_err(other)?;
    let mut parameters = CertificateParams::new(domains.clone()).map_err(other)?;
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&key).map_err(other)?;
    placed.finalize_csr(request.der()).await?;
    let chain = placed.poll_certificate(&PATIENCE).await?;
    Ok(Issued { chain, key: key.serialize_pem() })
}

/// The stored account, or a new one if there is none with this authority.
async fn open_account(http: &Http, order: &AcmeOrder<'_>) -> Result<Account, Error> {
    let stored = order.account.read().map_err(other)?;
    let credentials = stored.and_then(|stored| {
        let value: serde_json::Value = serde_json::from_str(&stored).ok()?;
        let is_of_this = value["directory"] == order.acme.directory;
        is_of_this.then(|| serde_json::from_value::<AccountCredentials>(value).ok()).flatten()
    });
    match credentials {
        Some(credentials) => {
            let builder = Account::builder_with_http(Box::new(http.clone()));
            builder.from_credentials(credentials).await
        }
        None => create_account(http, order).await,
    }
}

/// Whoever sets `tls = "acme"` agrees to the terms of the authority, as the manual says.
async fn create_account(http: &Http, order: &AcmeOrder<'_>) -> Result<Account, Error> {
    let contact: Vec<_> = order.acme.contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let created = builder.create(&new, order.acme.directory.clone(), None).await;
    let (account, credentials) = created?;
    order.account.write(&serde_json::to_string(&credentials)?).map_err(other)?;
    Ok(account)
}

/// Places the order, as the replacement of the certificate in use where the authority wants to know that.
async fn place(account: &Account, order: &AcmeOrder<'_>) -> Result<Order, Error> {
    let domains = order.acme.domains.iter().cloned();
    let identifiers: Vec<_> = domains.map(Identifier::Dns).collect();
    let new = || match &order.acme.profile {
        Some(profile) => NewOrder::new(&identifiers).profile(profile),
        None => NewOrder::new(&identifiers),
    };
    let Some(id) = order.replaces.and_then(identifier) else {
        return account.new_order(&new()).await;
    };
    match account.new_order(&new().replaces(id)).await {
        Err(Error::Api(problem)) if !is_about_replacing(&problem) => Err(Error::Api(problem)),
        // The authority does not care, or does not know the certificate.
        Err(_) => account.new_order(&new()).await,
        Ok(placed) => Ok(placed),
    }
}

async fn answer_challenges(placed: &mut Order, order: &AcmeOrder<'_>) -> Result<(), Error> {
    let (kind, name) = match order.acme.http_address {
        Some(_) => (ChallengeType::Http01, "http-01"),
        None => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
    };
    let mut authorizations = placed.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(kind.clone());
        let mut challenge =
            challenge.ok_or_else(|| Error::Other(format!("it does not offer {name}").into()))?;
        answer(&challenge, order.challenges)?;
        let domain = challenge.identifier().to_string();
        challenge.set_ready().await.map_err(|error| match error {
            // It was validated already, in vain.
            Error::Api(problem) => Error::Other(format!("{domain}: {}", detail(problem)).into()),
            error => error,
        })?;
    }
    Ok(())
}

fn answer(challenge: &ChallengeHandle<'_>, challenges: &Challenges) -> Result<(), Error> {
    let proof = challenge.key_authorization();
    if challenge.r#type == ChallengeType::Http01 {
        challenges.answer_http(challenge.token.clone(), proof.as_str().to_owned());
        return Ok(());
    }
    let domain = challenge.identifier().to_string();
    let mut parameters = CertificateParams::new([domain.clone()]).map_err(other)?;
    let extension = CustomExtension::new_acme_identifier(proof.digest().as_ref());
    parameters.custom_extensions = vec![extension];
    let key = KeyPair::generate().map_err(other)?;
    let made = parameters.self_signed(&key).map_err(other)?;
    let made = SelfSigned { certificate: made.der().to_vec(), key: key.serialize_der() };
    challenges.answer_tls(&domain, made).map_err(|why| Error::Other(why.into()))
}

/// Why an order became invalid: what the authority found at each domain.
async fn refusal(order: &mut Order) -> Error {
    let problem = order.state().error.clone().map(|problem| Error::Api(problem).to_string());
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let errors =
            authorization.challenges.iter().filter_map(|challenge| challenge.error.clone());
        found.extend(errors.map(|problem| format!("{domain}: {}", detail(problem))));
    }
    let text = match found.is_empty() {
        false => found.join("; "),
        true => problem.unwrap_or_else(|| "the order became invalid".into()),
    };
    Error::Other(text.into())
}

fn detail(problem: Problem) -> String {
    match &problem.detail {
        Some(detail) => detail.clone(),
        None => Error::Api(problem).to_string(),
    }
}

/// How an authority names a certificate (RFC 9773, section 4.1).
fn identifier(certificate: &[u8]) -> Option<CertificateIdentifier<'static>> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let content = parsed.tbs_certificate();
    let (_, authority) = content.get_extension::<AuthorityKeyIdentifier>().ok()??;
    let (key, serial) = (authority.key_identifier?, content.serial_number().as_bytes());
    Some(CertificateIdentifier::new(Der::from_slice(key.as_bytes()), Der::from_slice(serial)))
}

/// Whether the certificate that is to be replaced may be the reason: it was replaced before, or was issued by
/// another authority, or for another account.
fn is_about_replacing(problem: &Problem) -> bool {
    ["alreadyReplaced", "malformed", "unauthorized"].iter().any(|name| has_type(problem, name))
}

fn has_type(problem: &Problem, name: &str) -> bool {
    problem.r#type.as_deref().and_then(|text| text.rsplit(':').next()) == Some(name)
}

fn failed(error: &Error, retry_after: Option<Duration>) -> AcmeError {
    let message = error.to_string();
    let message = message.strip_prefix("API error: ").unwrap_or(&message).to_owned();
    AcmeError { message, retry_after }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// How an order is asked about: soon, then ever more rarely, and as the authority says.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(Duration::from_secs(300));

#[cfg(test)]
mod tests {
    use rcgen::{Issuer, KeyIdMethod, SerialNumber};

    use super::*;

    /// The numbers are those of the example of RFC 9773, appendix A. The serial number is positive, so a zero
    /// is in front of it.
    #[test]
    fn a_certificate_is_named_as_the_standard_says() {
        let key = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
            0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
        ];
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.key_identifier_method = KeyIdMethod::PreSpecified(key.to_vec());
        let mut parameters = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
        parameters.serial_number = Some(SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        parameters.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().unwrap();
        let certificate =
            parameters.signed_by(&pair, &Issuer::from_params(&authority, &pair)).unwrap();
        let name = identifier(certificate.der()).unwrap().to_string();
        assert_eq!(name, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }
}
