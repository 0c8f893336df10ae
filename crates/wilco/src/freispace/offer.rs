//! An offer, which the pages also call a quote: what the work would cost.

use jiff::{Timestamp, civil::Date};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Issuer, Order, Recipient, instant, or_default};

/// An offer, as an `offer.*` or `quote.*` event has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Offer {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// The number that people see, such as `OF-1000`.
    pub number: Option<String>,
    /// The date printed on it.
    pub date: Option<Date>,
    /// What it is about.
    #[serde(deserialize_with = "or_default")]
    pub subject: String,
    /// The first day of the service.
    pub service_period_from: Option<Date>,
    /// The last day of the service.
    pub service_period_to: Option<Date>,
    /// The order to which it belongs.
    pub order: Option<Order>,
    /// The client's cost centre.
    pub cost_center: Option<String>,
    /// Who issues it.
    #[serde(deserialize_with = "or_default")]
    pub issuer: Issuer,
    /// To whom it is addressed.
    #[serde(deserialize_with = "or_default")]
    pub recipient: Recipient,
    /// Where bills are sent.
    #[serde(deserialize_with = "or_default")]
    pub billing_email_addresses: Vec<String>,
    /// An ISO 4217 code, such as `EUR`.
    pub currency: Option<String>,
    /// The sum before tax, in minor units of the currency (cents). May be negative.
    pub total_sum_net: Option<i64>,
    /// The sum with tax, in minor units of the currency (cents). May be negative.
    pub total_sum_gross: Option<i64>,
    /// The last day on which it can be accepted.
    pub offer_valid_until: Option<Date>,
    /// What the client said. `None` until then.
    pub status: Option<Status>,
    /// When the client said it.
    #[serde(deserialize_with = "instant")]
    pub status_set_at: Option<Timestamp>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What the client said to an offer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// `accepted`
    Accepted,
    /// `declined`
    Declined,
    /// Another word.
    #[serde(untagged)]
    Other(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::freispace::{
        sample,
        tests::{data, fixture, read},
    };

    #[test]
    fn every_member_of_an_offer_is_read() {
        let offer: Offer = data(sample("offer.status_updated").unwrap());
        assert_eq!(offer.number.as_deref(), Some("Q-26-031"));
        assert_eq!(offer.date, Some(jiff::civil::date(2026, 4, 2)));
        assert_eq!(offer.subject, "Salt Roads: grade, mix and delivery");
        assert_eq!(offer.service_period_from, Some(jiff::civil::date(2026, 4, 13)));
        assert_eq!(offer.service_period_to, Some(jiff::civil::date(2026, 6, 26)));
        assert_eq!(offer.order.unwrap().number.as_deref(), Some("A-0352"));
        assert_eq!(offer.issuer.name.as_deref(), Some("Kranich Post"));
        assert_eq!(offer.recipient.address.unwrap().lines().count(), 5);
        assert_eq!(offer.billing_email_addresses, ["invoices@halden-pictures.example"]);
        assert_eq!(offer.currency.as_deref(), Some("EUR"));
        assert_eq!(
            (offer.total_sum_net, offer.total_sum_gross),
            (Some(1_846_500), Some(2_197_335))
        );
        assert_eq!(offer.offer_valid_until, Some(jiff::civil::date(2026, 4, 30)));
        assert_eq!(offer.status, Some(Status::Accepted));
        assert_eq!(offer.status_set_at.unwrap().to_string(), "2026-04-08T07:41:26Z");
    }

    #[test]
    fn null_and_absent_members_are_none() {
        let nulls = json!({
            "id": null, "number": null, "date": null, "subject": null, "service_period_from": null,
            "service_period_to": null, "order": null, "cost_center": null, "issuer": null,
            "recipient": null, "billing_email_addresses": null, "currency": null,
            "total_sum_net": null, "total_sum_gross": null, "offer_valid_until": null,
            "status": null, "status_set_at": null,
        });
        let inner = json!({
            "issuer": { "id": null, "name": null },
            "recipient": {
                "client_id": null, "client_address_id": null, "client_contact_id": null,
                "address": null,
            },
        });
        for empty in [nulls, inner, json!({})] {
            assert_eq!(read::<Offer>(&empty), Offer::default());
        }
    }

    #[test]
    fn money_is_exact() {
        for cents in [0, -5_000, (1 << 53) + 1, i64::MAX, i64::MIN] {
            let offer: Offer =
                read(&json!({ "total_sum_net": cents, "total_sum_tax": cents, "note": "" }));
            assert_eq!(offer.total_sum_net, Some(cents));
            assert_eq!(offer.other["total_sum_tax"], json!(cents));
        }
    }

    #[test]
    fn a_quote_is_an_offer() {
        let offer: Offer = data(fixture("quote.finalized"));
        assert_eq!((offer.total_sum_net, offer.total_sum_gross), (Some(-7_500), Some(0)));
        assert_eq!(offer.status, None);
    }

    #[test]
    fn an_undocumented_status_is_kept_as_other() {
        for (word, status) in [
            ("accepted", Status::Accepted),
            ("declined", Status::Declined),
            ("expired", Status::Other("expired".to_owned())),
        ] {
            assert_eq!(read::<Offer>(&json!({ "status": word })).status, Some(status));
        }
    }
}
