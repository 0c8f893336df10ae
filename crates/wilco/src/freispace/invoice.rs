//! An invoice: what the work did cost.

use jiff::{Timestamp, civil::Date};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Issuer, Order, Recipient, instant, or_default};

/// An invoice, as an `invoice.*` event has it.
///
/// The documentation that we could read shows no sums. Those here have the names that an
/// [`Offer`](super::Offer) has, and are `None` where the event does not have them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Invoice {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// The number that people see, such as `IN-26-1003`.
    pub number: Option<String>,
    /// The date printed on it.
    pub date: Option<Date>,
    /// The day by which it is to be paid.
    pub due_date: Option<Date>,
    /// The time to pay, in days.
    pub due_days: Option<i64>,
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
    /// Where it is sent.
    #[serde(deserialize_with = "or_default")]
    pub billing_email_addresses: Vec<String>,
    /// An ISO 4217 code, such as `EUR`.
    pub currency: Option<String>,
    /// The sum before tax, in minor units of the currency (cents). May be negative.
    pub total_sum_net: Option<i64>,
    /// The sum with tax, in minor units of the currency (cents). May be negative.
    pub total_sum_gross: Option<i64>,
    /// When it was canceled. `None` unless it was.
    #[serde(deserialize_with = "instant")]
    pub canceled_at: Option<Timestamp>,
    /// The UUID of the invoice that cancels this one, for which no separate event is sent.
    pub cancellation_invoice_id: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::freispace::{
        sample,
        tests::{data, read},
    };

    #[test]
    fn every_member_of_an_invoice_is_read() {
        let invoice: Invoice = data(sample("invoice.canceled").unwrap());
        assert_eq!(invoice.number.as_deref(), Some("INV-26-118"));
        assert_eq!(invoice.date, Some(jiff::civil::date(2026, 6, 30)));
        assert_eq!(invoice.due_date, Some(jiff::civil::date(2026, 7, 14)));
        assert_eq!(invoice.due_days, Some(14));
        assert_eq!(invoice.subject, "Salt Roads: grade, mix and delivery");
        assert_eq!(invoice.order.unwrap().number.as_deref(), Some("A-0352"));
        assert_eq!(invoice.cost_center.as_deref(), Some("4400"));
        assert_eq!(invoice.issuer.name.as_deref(), Some("Kranich Post"));
        assert_eq!(invoice.recipient.client_contact_id, None);
        assert_eq!(invoice.canceled_at.unwrap().to_string(), "2026-07-01T10:05:00Z");
        let cancellation = invoice.cancellation_invoice_id.unwrap();
        assert!(cancellation.starts_with("be604d7f-"), "{cancellation}");
    }

    #[test]
    fn null_and_absent_members_are_none() {
        let nulls = json!({
            "id": null, "number": null, "date": null, "due_date": null, "due_days": null,
            "subject": null, "service_period_from": null, "service_period_to": null, "order": null,
            "cost_center": null, "issuer": null, "recipient": null,
            "billing_email_addresses": null, "currency": null, "total_sum_net": null,
            "total_sum_gross": null, "canceled_at": null, "cancellation_invoice_id": null,
        });
        for empty in [nulls, json!({})] {
            assert_eq!(read::<Invoice>(&empty), Invoice::default());
        }
    }

    #[test]
    fn sums_are_read_if_they_are_present() {
        let sums = json!({ "currency": "JPY", "total_sum_net": i64::MAX, "total_sum_gross": -1 });
        let invoice: Invoice = read(&sums);
        assert_eq!((invoice.total_sum_net, invoice.total_sum_gross), (Some(i64::MAX), Some(-1)));
        assert_eq!(invoice.currency.as_deref(), Some("JPY"));
    }

    #[test]
    fn an_instant_is_read_in_every_documented_format() {
        for (text, expected) in [
            ("2026-07-01T10:05:00+00:00", "2026-07-01T10:05:00Z"),
            ("2026-07-01T12:05:00+02:00", "2026-07-01T10:05:00Z"),
            ("2026-07-01T10:05:00Z", "2026-07-01T10:05:00Z"),
            ("2026-07-01T10:05:00.123456Z", "2026-07-01T10:05:00.123456Z"),
            ("2026-07-01T10:05:00", "2026-07-01T10:05:00Z"),
            ("2026-07-01 10:05:00", "2026-07-01T10:05:00Z"),
        ] {
            let invoice: Invoice = read(&json!({ "canceled_at": text }));
            assert_eq!(invoice.canceled_at.unwrap().to_string(), expected, "{text}");
        }
    }
}
