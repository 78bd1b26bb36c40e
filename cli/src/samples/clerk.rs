//! Clerk: 46 event types and the envelope around their data.
//!
//! The types are those of Clerk's schema and of its own libraries; each group
//! has a file.

use serde_json::{Value, json};

use super::Row;
use super::draw::Draw;

mod billing;
mod messaging;
mod organization;
mod user;

const fn row(name: &'static str, weight: u32, build: fn(&mut Draw<'_>) -> Value) -> Row {
    Row {
        name,
        weight,
        build,
    }
}

/// Weights follow what a product with sign-ups, teams and plans sees.
pub(super) static TABLE: [Row; 46] = [
    row("user.created", 60, user::created),
    row("user.updated", 140, user::updated),
    row("user.deleted", 8, user::deleted),
    row("session.created", 240, |draw| user::session(draw, "active")),
    row("session.pending", 20, |draw| user::session(draw, "pending")),
    row("session.ended", 90, |draw| user::session(draw, "ended")),
    row("session.removed", 40, |draw| user::session(draw, "removed")),
    row("session.revoked", 8, |draw| user::session(draw, "revoked")),
    row("organization.created", 12, organization::created),
    row("organization.updated", 16, organization::updated),
    row("organization.deleted", 2, organization::deleted),
    row("organizationDomain.created", 3, organization::domain),
    row(
        "organizationDomain.updated",
        3,
        organization::domain_verified,
    ),
    row("organizationDomain.deleted", 1, |draw| {
        organization::gone(draw, "organization_domain", "orgdmn")
    }),
    row("organizationInvitation.created", 24, |draw| {
        organization::invitation(draw, "pending")
    }),
    row("organizationInvitation.accepted", 18, |draw| {
        organization::invitation(draw, "accepted")
    }),
    row("organizationInvitation.revoked", 2, |draw| {
        organization::invitation(draw, "revoked")
    }),
    row(
        "organizationMembership.created",
        26,
        organization::membership,
    ),
    row(
        "organizationMembership.updated",
        8,
        organization::membership,
    ),
    row(
        "organizationMembership.deleted",
        5,
        organization::membership,
    ),
    row("role.created", 1, organization::role),
    row("role.updated", 1, organization::role),
    row("role.deleted", 1, organization::role_deleted),
    row("permission.created", 1, organization::permission),
    row("permission.updated", 1, organization::permission),
    row("permission.deleted", 1, |draw| {
        organization::gone(draw, "permission", "perm")
    }),
    row("waitlistEntry.created", 10, organization::waiting),
    row("waitlistEntry.updated", 6, organization::invited),
    row("email.created", 120, messaging::email),
    row("sms.created", 30, messaging::sms),
    row("subscription.created", 10, |draw| {
        billing::subscription(draw, "active")
    }),
    row("subscription.updated", 10, |draw| {
        billing::subscription(draw, "active")
    }),
    row("subscription.active", 8, |draw| {
        billing::subscription(draw, "active")
    }),
    row("subscription.pastDue", 3, |draw| {
        billing::subscription(draw, "past_due")
    }),
    row("subscriptionItem.created", 10, |draw| {
        billing::item(draw, "active", false)
    }),
    row("subscriptionItem.updated", 8, |draw| {
        billing::item(draw, "active", false)
    }),
    row("subscriptionItem.active", 8, |draw| {
        billing::item(draw, "active", false)
    }),
    row("subscriptionItem.canceled", 3, |draw| {
        billing::item(draw, "canceled", false)
    }),
    row("subscriptionItem.upcoming", 4, |draw| {
        billing::item(draw, "upcoming", false)
    }),
    row("subscriptionItem.ended", 3, |draw| {
        billing::item(draw, "ended", false)
    }),
    row("subscriptionItem.abandoned", 1, |draw| {
        billing::item(draw, "abandoned", false)
    }),
    row("subscriptionItem.incomplete", 1, |draw| {
        billing::item(draw, "incomplete", false)
    }),
    row("subscriptionItem.pastDue", 2, |draw| {
        billing::item(draw, "past_due", false)
    }),
    row("subscriptionItem.freeTrialEnding", 3, |draw| {
        billing::item(draw, "active", true)
    }),
    row("paymentAttempt.created", 10, |draw| {
        billing::payment(draw, "pending")
    }),
    row("paymentAttempt.updated", 10, |draw| {
        billing::payment(draw, "paid")
    }),
];

/// What stands around the data of every event. There is no event id in it:
/// only the message's header identifies it.
pub(super) fn envelope(event_type: &str, data: Value, draw: &mut Draw<'_>) -> Value {
    json!({
        "data": data,
        "event_attributes": {
            "http_request": {
                "client_ip": draw.ip(),
                "user_agent": draw.user_agent(),
            },
        },
        "instance_id": draw.id("ins"),
        "object": "event",
        "timestamp": draw.now(),
        "type": event_type,
    })
}

/// An address of a picture.
fn image(draw: &mut Draw<'_>) -> String {
    format!("https://img.example.com/{}", draw.text(40))
}
