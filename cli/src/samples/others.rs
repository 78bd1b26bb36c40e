//! The providers beside Clerk: one or two events each, with their envelopes and headers.

use hookplane_signature::Provider;
use serde_json::{Value, json};

use super::Row;
use super::draw::Draw;

static GITHUB: [Row; 2] = [
    Row {
        name: "push",
        weight: 3,
        build: push,
    },
    Row {
        name: "issues",
        weight: 1,
        build: issue,
    },
];
static STRIPE: [Row; 2] = [
    Row {
        name: "payment_intent.succeeded",
        weight: 2,
        build: payment_intent,
    },
    Row {
        name: "customer.created",
        weight: 1,
        build: customer,
    },
];
static SHOPIFY: [Row; 2] = [
    Row {
        name: "orders/create",
        weight: 2,
        build: order,
    },
    Row {
        name: "products/update",
        weight: 1,
        build: product,
    },
];
static SLACK: [Row; 2] = [
    Row {
        name: "message",
        weight: 3,
        build: message,
    },
    Row {
        name: "app_mention",
        weight: 1,
        build: mention,
    },
];
static GENERIC: [Row; 2] = [
    Row {
        name: "invoice.paid",
        weight: 2,
        build: invoice,
    },
    Row {
        name: "contact.created",
        weight: 1,
        build: contact,
    },
];

pub(super) fn table(provider: Provider) -> &'static [Row] {
    match provider {
        Provider::Github => &GITHUB,
        Provider::Stripe => &STRIPE,
        Provider::Shopify => &SHOPIFY,
        Provider::Slack => &SLACK,
        _ => &GENERIC,
    }
}

/// A fresh message id of the provider's form.
pub(super) fn message_id(provider: Provider, draw: &mut Draw<'_>) -> String {
    match provider {
        Provider::Github | Provider::Shopify => draw.uuid(),
        Provider::Stripe => format!("evt_{}", draw.text(24)),
        Provider::Slack => format!("Ev{}", draw.text(9).to_uppercase()),
        _ => draw.id("msg"),
    }
}

/// Headers in which the provider names the event.
pub(super) fn headers(provider: Provider, event_type: &str) -> Vec<(String, String)> {
    let pairs: Vec<(&str, &str)> = match provider {
        Provider::Github => vec![("x-github-event", event_type)],
        Provider::Shopify => vec![
            ("x-shopify-topic", event_type),
            ("x-shopify-shop-domain", "orchard-street.example.com"),
            ("x-shopify-api-version", "2026-10"),
        ],
        _ => Vec::new(),
    };
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What stands around the data.
pub(super) fn envelope(
    provider: Provider,
    event_type: &str,
    message_id: &str,
    data: Value,
    draw: &mut Draw<'_>,
) -> Value {
    let seconds = draw.now() / 1000;
    match provider {
        Provider::Github | Provider::Shopify => data,
        Provider::Stripe => json!({
            "api_version": "2026-09-30",
            "created": seconds,
            "data": {"object": data},
            "id": message_id,
            "livemode": false,
            "object": "event",
            "pending_webhooks": 1,
            "request": {"id": format!("req_{}", draw.text(14)), "idempotency_key": draw.uuid()},
            "type": event_type,
        }),
        Provider::Slack => json!({
            "api_app_id": format!("A{}", draw.text(10).to_uppercase()),
            "event": data,
            "event_id": message_id,
            "event_time": seconds,
            "team_id": format!("T{}", draw.text(10).to_uppercase()),
            "type": "event_callback",
        }),
        _ => json!({"data": data, "timestamp": draw.text_time(), "type": event_type}),
    }
}

fn repository(draw: &mut Draw<'_>) -> Value {
    let owner = draw.company().slug;
    let name = draw.pick(&["storefront", "billing", "infrastructure"]);
    json!({
        "default_branch": "main",
        "full_name": format!("{owner}/{name}"),
        "html_url": format!("https://github.com/{owner}/{name}"),
        "id": draw.number(100_000_000, 999_999_999),
        "name": name,
        "owner": {"id": draw.number(1_000_000, 99_999_999), "login": owner, "type": "Organization"},
        "private": draw.chance(60),
    })
}

fn login(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    json!({
        "id": draw.number(1_000_000, 99_999_999),
        "login": person.email.split('@').next(),
        "type": "User",
    })
}

fn push(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    let (before, after) = (draw.hex(40), draw.hex(40));
    let author =
        json!({"email": person.email, "name": format!("{} {}", person.first, person.last)});
    let commit = json!({
        "added": [],
        "author": author.clone(),
        "committer": author.clone(),
        "distinct": true,
        "id": after,
        "message": draw.pick(&["Round totals half to even", "Retry the import when the file is locked", "Say which field is wrong"]),
        "modified": [draw.pick(&["src/total.rs", "src/import.rs", "docs/errors.md"])],
        "removed": [],
        "timestamp": draw.text_time(),
        "tree_id": draw.hex(40),
    });
    json!({
        "after": after,
        "base_ref": null,
        "before": before,
        "commits": [commit.clone()],
        "created": false,
        "deleted": false,
        "forced": false,
        "head_commit": commit,
        "pusher": author,
        "ref": "refs/heads/main",
        "repository": repository(draw),
        "sender": login(draw),
    })
}

fn issue(draw: &mut Draw<'_>) -> Value {
    let opener = login(draw);
    json!({
        "action": "opened",
        "issue": {
            "body": "The export stops after 1,000 rows.\n\nSeen with the newest release.",
            "comments": 0,
            "created_at": draw.text_time(),
            "id": draw.number(1_000_000_000, 9_999_999_999),
            "labels": [{"color": "d73a4a", "name": "bug"}],
            "number": draw.number(1, 4000),
            "state": "open",
            "title": "Export is cut short",
            "user": opener.clone(),
        },
        "repository": repository(draw),
        "sender": opener,
    })
}

fn payment_intent(draw: &mut Draw<'_>) -> Value {
    let amount = draw.number(500, 50_000);
    json!({
        "amount": amount,
        "amount_received": amount,
        "capture_method": "automatic",
        "created": draw.now() / 1000,
        "currency": draw.pick(&["eur", "usd", "gbp"]),
        "customer": format!("cus_{}", draw.text(14)),
        "id": format!("pi_{}", draw.text(24)),
        "latest_charge": format!("ch_{}", draw.text(24)),
        "livemode": false,
        "metadata": {"order": draw.digits(6)},
        "object": "payment_intent",
        "payment_method_types": ["card"],
        "status": "succeeded",
    })
}

fn customer(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    json!({
        "balance": 0,
        "created": draw.now() / 1000,
        "currency": null,
        "email": person.email,
        "id": format!("cus_{}", draw.text(14)),
        "livemode": false,
        "metadata": {},
        "name": format!("{} {}", person.first, person.last),
        "object": "customer",
        "phone": draw.phone(),
    })
}

fn order(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    let cents = draw.number(900, 20_000);
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    let number = draw.number(1000, 99_999);
    json!({
        "created_at": draw.text_time(),
        "currency": "EUR",
        "customer": {"email": person.email, "first_name": person.first, "id": draw.number(1_000_000_000, 9_999_999_999), "last_name": person.last},
        "email": person.email,
        "financial_status": "paid",
        "id": draw.number(1_000_000_000_000, 9_999_999_999_999),
        "line_items": [{"id": draw.number(1_000_000_000_000, 9_999_999_999_999), "price": price, "quantity": 1, "sku": format!("BK-{}", draw.digits(5)), "title": "Field notebook"}],
        "name": format!("#{number}"),
        "order_number": number,
        "total_price": price,
        "updated_at": draw.text_time(),
    })
}

fn product(draw: &mut Draw<'_>) -> Value {
    json!({
        "handle": "field-notebook",
        "id": draw.number(1_000_000_000_000, 9_999_999_999_999),
        "product_type": "Stationery",
        "status": "active",
        "title": "Field notebook",
        "updated_at": draw.text_time(),
        "variants": [{"id": draw.number(1_000_000_000_000, 9_999_999_999_999), "inventory_quantity": draw.number(0, 400), "price": "12.50", "sku": format!("BK-{}", draw.digits(5))}],
        "vendor": draw.company().name,
    })
}

fn message(draw: &mut Draw<'_>) -> Value {
    slack_event(draw, "message", "The nightly import is done.")
}

fn mention(draw: &mut Draw<'_>) -> Value {
    slack_event(
        draw,
        "app_mention",
        "<@U0LAN0Z89> how many orders are open?",
    )
}

fn slack_event(draw: &mut Draw<'_>, kind: &str, text: &str) -> Value {
    let stamp = format!("{}.{}", draw.now() / 1000, draw.digits(6));
    json!({
        "channel": format!("C{}", draw.text(10).to_uppercase()),
        "channel_type": "channel",
        "event_ts": stamp,
        "text": text,
        "ts": stamp,
        "type": kind,
        "user": format!("U{}", draw.text(10).to_uppercase()),
    })
}

fn invoice(draw: &mut Draw<'_>) -> Value {
    json!({
        "amount_cents": draw.number(500, 90_000),
        "currency": "EUR",
        "customer": draw.company().name,
        "id": format!("inv_{}", draw.text(12)),
        "paid_at": draw.text_time(),
    })
}

fn contact(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    json!({
        "company": draw.company().name,
        "email": person.email,
        "id": format!("con_{}", draw.text(12)),
        "name": format!("{} {}", person.first, person.last),
        "phone": draw.phone(),
    })
}
