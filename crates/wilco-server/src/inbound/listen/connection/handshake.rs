//! Why a TLS handshake failed, in terms that help whoever runs the endpoint.

use std::io;

use rustls::{AlertDescription, Error};

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The sender does not take the certificate.
    CertificateRefused,
    /// The client does not speak TLS.
    NotTls,
    /// No version, cipher or protocol in common.
    Incompatible,
    /// The connection ended in the middle.
    BrokenOff,
    /// It was not complete in time.
    TooSlow,
    /// No authority has issued a certificate yet.
    NoCertificate,
    /// Anything else.
    Other,
}

impl Reason {
    /// The reason for this error of the acceptor.
    pub(super) fn of(error: &io::Error) -> Self {
        use AlertDescription as Alert;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            None => Self::BrokenOff,
            Some(Error::AlertReceived(
                Alert::UnknownCA
                | Alert::BadCertificate
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::UnsupportedCertificate,
            )) => Self::CertificateRefused,
            Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => Self::NotTls,
            Some(
                Error::PeerIncompatible(_)
                | Error::NoApplicationProtocol
                | Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure),
            ) => Self::Incompatible,
            // rustls has no variant for it.
            Some(Error::General(text)) if text == "no server certificate chain resolved" => {
                Self::NoCertificate
            }
            Some(_) => Self::Other,
        }
    }

    /// The label of the metric.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::CertificateRefused => "certificate_refused",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::BrokenOff => "broken_off",
            Self::TooSlow => "too_slow",
            Self::NoCertificate => "no_certificate",
            Self::Other => "other",
        }
    }

    /// What it usually means.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::CertificateRefused => {
                "the sender does not trust the certificate: it is self-signed, expired, for another \
                 name, or the file lacks the intermediate certificates"
            }
            Self::NotTls => {
                "the connection is not TLS: the sender's URL says http://, or a proxy in front already \
                 handles TLS, which needs tls = \"off\" in [listen]"
            }
            Self::Incompatible => {
                "the sender offers neither TLS 1.2 nor 1.3, or asks for a protocol other \
                 than HTTP/1.1"
            }
            Self::BrokenOff => {
                "the other side closed the connection: a port scan, a probe of a load balancer, or a \
                 sender that does not trust the certificate"
            }
            Self::TooSlow => "nothing arrived in time: a port scan, or a broken network",
            Self::NoCertificate => {
                "the certificate is still missing, or no challenge to answer: /readyz says why, and the log"
            }
            Self::Other => "see the error",
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::{InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn each_error_of_the_acceptor_has_a_reason() {
        use AlertDescription as Alert;
        for (error, expected) in [
            (Error::AlertReceived(Alert::UnknownCA), Reason::CertificateRefused),
            (Error::AlertReceived(Alert::BadCertificate), Reason::CertificateRefused),
            (Error::AlertReceived(Alert::CertificateExpired), Reason::CertificateRefused),
            (Error::AlertReceived(Alert::ProtocolVersion), Reason::Incompatible),
            (Error::AlertReceived(Alert::DecodeError), Reason::Other),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), Reason::NotTls),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                Reason::Incompatible,
            ),
        ] {
            let shown = error.to_string();
            assert_eq!(Reason::of(&io::Error::other(error)), expected, "{shown}");
        }
        assert_eq!(Reason::of(&io::ErrorKind::UnexpectedEof.into()), Reason::BrokenOff);
    }
}
