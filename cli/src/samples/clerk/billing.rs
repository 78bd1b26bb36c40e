//! Subscriptions, their items, and attempts to be paid.

use serde_json::{Value, json};

use super::image;
use crate::samples::draw::Draw;

/// Slug, name, price in cents.
const PLANS: [(&str, &str, u64); 3] = [
    ("starter", "Starter", 900),
    ("team", "Team", 2900),
    ("business", "Business", 9900),
];

fn plan(draw: &mut Draw<'_>) -> Value {
    let (slug, name, amount) = draw.pick(&PLANS);
    json!({
        "amount": amount,
        "currency": "USD",
        "id": draw.id("cplan"),
        "is_recurring": true,
        "name": name,
        "slug": slug,
    })
}

fn payer(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    json!({
        "created_at": draw.before(200),
        "email": person.email,
        "first_name": person.first,
        "id": draw.id("cpayer"),
        "image_url": image(draw),
        "last_name": person.last,
        "object": "commerce_payer",
        "organization_id": "",
        "organization_name": "",
        "updated_at": draw.now(),
        "user_id": draw.id("user"),
    })
}

/// An item without its payer, as it stands within a subscription.
fn bare_item(draw: &mut Draw<'_>, object: &str, status: &str, trial: bool) -> Value {
    let plan = plan(draw);
    json!({
        "created_at": draw.before(60),
        "id": draw.id("csub_item"),
        "interval": draw.pick(&["month", "year"]),
        "is_free_trial": trial,
        "object": object,
        "period_end": draw.after(30),
        "period_start": draw.now(),
        "plan_id": plan["id"],
        "plan": plan,
        "status": status,
        "subscription_id": null,
        "updated_at": draw.now(),
    })
}

pub(super) fn subscription(draw: &mut Draw<'_>, status: &str) -> Value {
    let payer = payer(draw);
    let item = bare_item(draw, "commerce_subscription_item", status, false);
    let started = draw.before(60);
    json!({
        "active_at": started,
        "canceled_at": null,
        "created_at": started,
        "ended_at": null,
        "id": draw.id("csub"),
        "items": [item],
        "latest_payment_id": draw.id("cpa"),
        "object": "commerce_subscription",
        "past_due_at": (status == "past_due").then(|| draw.now()),
        "payer_id": payer["id"],
        "payer": payer,
        "payment_source_id": draw.id("cps"),
        "status": status,
        "updated_at": draw.now(),
    })
}

pub(super) fn item(draw: &mut Draw<'_>, status: &str, trial: bool) -> Value {
    let mut item = bare_item(draw, "subscription_item", status, trial);
    item["payer"] = payer(draw);
    item["seats"] = json!({"quantity": draw.number(1, 25)});
    item["subscription_id"] = json!(draw.id("csub"));
    item
}

fn money(cents: u64) -> Value {
    json!({
        "amount": cents,
        "amount_formatted": format!("${}.{:02}", cents / 100, cents % 100),
        "currency": "USD",
        "currency_symbol": "$",
    })
}

/// The one kind of data without an `object`.
pub(super) fn payment(draw: &mut Draw<'_>, status: &str) -> Value {
    let (slug, name, price) = draw.pick(&PLANS);
    let instance = draw.id("ins");
    let person = draw.person();
    let account = format!("acct_{}", draw.text(16));
    let tax = price / 10;
    let plan = draw.id("cplan");
    let left = draw.number(1, 29);
    #[expect(clippy::cast_precision_loss, reason = "a small number of days")]
    let share = left as f64 / 30.0;
    let unused = json!({
        "amount": money(price / 4),
        "cycle_days_remaining": left,
        "cycle_days_total": 30,
        "cycle_remaining_percent": share,
    });
    let item = json!({
        "amount": money(price),
        "canceled_at": null,
        "credit": unused.clone(),
        "credits": {
            "payer": {"applied_amount": money(0), "remaining_balance": money(0)},
            "proration": unused,
            "total": money(price / 4),
        },
        "id": draw.id("csub_item"),
        "lifetime_paid": price * draw.number(1, 12),
        "next_payment_amount": price,
        "next_payment_date": draw.after(30),
        "past_due_at": null,
        "period_end": draw.after(30),
        "period_start": draw.now(),
        "plan": {
            "amount": price,
            "annual_monthly_amount": price * 5 / 6,
            "currency": "USD",
            "description": format!("The {} plan", name.to_lowercase()),
            "has_base_fee": true,
            "id": plan,
            "instance_id": instance,
            "interval": 1,
            "is_default": false,
            "is_prorated": true,
            "is_recurring": true,
            "name": name,
            "period": "month",
            "product_id": draw.id("cprd"),
            "publicly_visible": true,
            "slug": slug,
        },
        "plan_id": plan,
        "plan_period": "month",
        "proration_date": draw.text_time().get(..10),
        "status": "active",
    });
    json!({
        "billing_date": draw.now(),
        "charge_type": "recurring",
        "created_at": draw.now(),
        "failed_at": null,
        "failed_reason": null,
        "gateway_external_id": format!("pi_{}", draw.text(24)),
        "id": draw.id("pa"),
        "instance_id": instance,
        "paid_at": (status == "paid").then(|| draw.now()),
        "payee": {
            "gateway_external_id": account,
            "gateway_status": "active",
            "gateway_type": "stripe",
            "id": draw.id("cpayee"),
        },
        "payer": {
            "email": person.email,
            "first_name": person.first,
            "id": draw.id("cpayer"),
            "image_url": image(draw),
            "last_name": person.last,
            "user_id": draw.id("user"),
        },
        "payment_id": draw.id("cpa"),
        "payment_source": {
            "card_type": draw.pick(&["visa", "mastercard", "amex"]),
            "gateway": "stripe",
            "gateway_external_account_id": account,
            "gateway_external_id": format!("pm_{}", draw.text(24)),
            "id": draw.id("cps"),
            "last4": draw.digits(4),
            "payment_method": "card",
            "status": "active",
        },
        "statement_id": draw.id("stmt"),
        "status": status,
        "subscription_items": [item],
        "totals": {
            "grand_total": money(price + tax),
            "subtotal": money(price),
            "tax_total": money(tax),
        },
        "updated_at": draw.now(),
    })
}
