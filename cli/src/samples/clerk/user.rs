//! Users and their sessions; a session carries its whole user.

use serde_json::{Value, json};

use super::image;
use crate::samples::draw::{Draw, Person};

pub(super) fn created(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    let now = draw.now();
    user(draw, &person, now)
}

pub(super) fn updated(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    let created_at = draw.before(400);
    let mut user = user(draw, &person, created_at);
    user["public_metadata"] = json!({"plan": draw.pick(&["free", "team", "business"])});
    user["unsafe_metadata"] =
        json!({"onboarding": {"step": draw.number(1, 6), "done": draw.chance(50)}});
    user
}

pub(super) fn deleted(draw: &mut Draw<'_>) -> Value {
    let external = draw.chance(50).then(|| format!("crm-{}", draw.digits(7)));
    json!({
        "deleted": true,
        "external_id": external,
        "id": draw.id("user"),
        "object": "user",
    })
}

fn user(draw: &mut Draw<'_>, person: &Person, created_at: u64) -> Value {
    let picture = image(draw);
    let address = draw.id("idn");
    let factors = draw.chance(30);
    let email = json!({
        "created_at": created_at,
        "email_address": person.email,
        "id": address,
        "linked_to": [],
        "matches_sso_connection": false,
        "object": "email_address",
        "reserved": false,
        "updated_at": created_at,
        "verification": {
            "attempts": 1,
            "expire_at": created_at + 600_000,
            "object": "verification_otp",
            "status": "verified",
            "strategy": "email_code",
        },
    });
    json!({
        "backup_code_enabled": false,
        "banned": false,
        "create_organization_enabled": true,
        "create_organizations_limit": null,
        "created_at": created_at,
        "delete_self_enabled": true,
        "email_addresses": [email],
        "enterprise_accounts": [],
        "external_accounts": [],
        "external_id": null,
        "first_name": person.first,
        "has_image": draw.chance(60),
        "id": draw.id("user"),
        "image_url": picture,
        "last_active_at": draw.now(),
        "last_name": person.last,
        "last_sign_in_at": draw.now(),
        "legal_accepted_at": created_at,
        "locked": false,
        "lockout_expires_in_seconds": null,
        "mfa_disabled_at": null,
        "mfa_enabled_at": factors.then_some(created_at),
        "object": "user",
        "passkeys": [],
        "password_enabled": draw.chance(70),
        "phone_numbers": [],
        "primary_email_address_id": address,
        "primary_phone_number_id": null,
        "primary_web3_wallet_id": null,
        "private_metadata": {},
        "profile_image_url": picture,
        "public_metadata": {},
        "saml_accounts": [],
        "totp_enabled": factors,
        "two_factor_enabled": factors,
        "unsafe_metadata": {},
        "updated_at": draw.now(),
        "username": null,
        "verification_attempts_remaining": 100,
        "web3_wallets": [],
    })
}

pub(super) fn session(draw: &mut Draw<'_>, status: &str) -> Value {
    let person = draw.person();
    let joined = draw.before(400);
    let user = user(draw, &person, joined);
    let started = if status == "active" {
        draw.now()
    } else {
        draw.before(7)
    };
    let activity = (status == "active").then(|| {
        let (city, country) = draw.pick(&[
            ("Lisbon", "PT"),
            ("Osaka", "JP"),
            ("Nairobi", "KE"),
            ("Denver", "US"),
        ]);
        json!({
            "browser_name": draw.pick(&["Firefox", "Safari", "Chrome"]),
            "browser_version": format!("{}.0", draw.number(120, 145)),
            "city": city,
            "country": country,
            "device_type": draw.pick(&["desktop", "phone"]),
            "id": draw.id("sess_activity"),
            "ip_address": draw.ip(),
            "is_mobile": draw.chance(40),
            "object": "session_activity",
        })
    });
    let organization = draw.chance(50).then(|| draw.id("org"));
    json!({
        "abandon_at": draw.after(30),
        "actor": null,
        "client_id": draw.id("client"),
        "created_at": started,
        "expire_at": draw.after(7),
        "id": draw.id("sess"),
        "last_active_at": draw.now(),
        "last_active_organization_id": organization,
        "latest_activity": activity,
        "object": "session",
        "status": status,
        "updated_at": draw.now(),
        "user_id": user["id"],
        "user": user,
    })
}
