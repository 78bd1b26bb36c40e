//! Organizations and what belongs to them: domains, invitations, memberships, roles,
//! permissions; and the waiting list.

use serde_json::{Value, json};

use super::image;
use crate::samples::draw::Draw;

/// Role, its name, and what it may do.
const ROLES: [(&str, &str, &[&str]); 3] = [
    (
        "org:member",
        "Member",
        &["org:reports:read", "org:projects:read"],
    ),
    (
        "org:editor",
        "Editor",
        &[
            "org:reports:read",
            "org:projects:read",
            "org:projects:write",
        ],
    ),
    (
        "org:admin",
        "Admin",
        &[
            "org:sys_profile:manage",
            "org:sys_memberships:manage",
            "org:projects:write",
        ],
    ),
];

pub(super) fn created(draw: &mut Draw<'_>) -> Value {
    let now = draw.now();
    organization(draw, now)
}

pub(super) fn updated(draw: &mut Draw<'_>) -> Value {
    let created_at = draw.before(300);
    let mut organization = organization(draw, created_at);
    organization["members_count"] = json!(draw.number(2, 80));
    organization["public_metadata"] = json!({"region": draw.pick(&["eu", "us", "ap"])});
    organization["private_metadata"] = json!({"account": format!("acc-{}", draw.digits(6))});
    organization
}

pub(super) fn deleted(draw: &mut Draw<'_>) -> Value {
    let slug = draw.company().slug;
    let mut gone = gone(draw, "organization", "org");
    gone["slug"] = json!(slug);
    gone
}

/// What is left of something deleted.
pub(super) fn gone(draw: &mut Draw<'_>, object: &str, prefix: &str) -> Value {
    json!({"deleted": true, "id": draw.id(prefix), "object": object})
}

fn organization(draw: &mut Draw<'_>, created_at: u64) -> Value {
    let company = draw.company();
    json!({
        "admin_delete_enabled": true,
        "created_at": created_at,
        "created_by": draw.id("user"),
        "has_image": draw.chance(50),
        "id": draw.id("org"),
        "image_url": image(draw),
        "max_allowed_memberships": draw.pick(&[5, 25, 100]),
        "members_count": 1,
        "missing_member_with_elevated_permissions": false,
        "name": company.name,
        "object": "organization",
        "pending_invitations_count": draw.number(0, 4),
        "private_metadata": {},
        "public_metadata": {},
        "slug": format!("{}-{}", company.slug, draw.digits(4)),
        "updated_at": draw.now(),
    })
}

pub(super) fn domain(draw: &mut Draw<'_>) -> Value {
    let company = draw.company();
    let organization = draw.id("org");
    json!({
        "affiliation_email_address": format!("it@{}.example.com", company.slug),
        "created_at": draw.now(),
        "enrollment_mode": "manual_invitation",
        "id": draw.id("orgdmn"),
        "name": format!("{}.example.com", company.slug),
        "object": "organization_domain",
        "organization_id": organization,
        "public_organization_data": {
            "has_image": false,
            "id": organization,
            "image_url": image(draw),
            "name": company.name,
            "slug": company.slug,
        },
        "total_pending_invitations": 0,
        "total_pending_suggestions": draw.number(0, 5),
        "updated_at": draw.now(),
        "verification": null,
    })
}

pub(super) fn domain_verified(draw: &mut Draw<'_>) -> Value {
    let mut domain = domain(draw);
    domain["enrollment_mode"] = json!("automatic_suggestion");
    domain["verification"] = json!({
        "attempts": draw.number(1, 4),
        "expire_at": draw.after(1),
        "status": "verified",
        "strategy": "affiliation_email_code",
    });
    domain
}

pub(super) fn invitation(draw: &mut Draw<'_>, status: &str) -> Value {
    let person = draw.person();
    let (role, role_name, _) = draw.pick(&ROLES);
    let created_at = if status == "pending" {
        draw.now()
    } else {
        draw.before(5)
    };
    let mut invitation = json!({
        "created_at": created_at,
        "email_address": person.email,
        "expires_at": draw.after(30),
        "id": draw.id("orginv"),
        "object": "organization_invitation",
        "organization_id": draw.id("org"),
        "private_metadata": {},
        "public_metadata": {},
        "role": role,
        "role_name": role_name,
        "status": status,
        "updated_at": draw.now(),
        "url": format!("https://accounts.example.com/v1/tickets/accept?ticket={}", draw.text(64)),
    });
    if status == "accepted" {
        invitation["user_id"] = json!(draw.id("user"));
    }
    invitation
}

pub(super) fn membership(draw: &mut Draw<'_>) -> Value {
    let person = draw.person();
    let (role, role_name, permissions) = draw.pick(&ROLES);
    let created_at = draw.before(90);
    let mut organization = organization(draw, created_at);
    organization["members_count"] = json!(draw.number(2, 40));
    let picture = image(draw);
    json!({
        "created_at": created_at,
        "id": draw.id("orgmem"),
        "object": "organization_membership",
        "organization": organization,
        "permissions": permissions,
        "private_metadata": {},
        "public_metadata": {},
        "public_user_data": {
            "first_name": person.first,
            "has_image": draw.chance(50),
            "identifier": person.email,
            "image_url": picture,
            "last_name": person.last,
            "profile_image_url": picture,
            "user_id": draw.id("user"),
        },
        "role": role,
        "role_name": role_name,
        "updated_at": draw.now(),
    })
}

pub(super) fn role(draw: &mut Draw<'_>) -> Value {
    let (key, name, _) = draw.pick(&ROLES);
    let permissions: Vec<Value> = (0..draw.number(1, 4)).map(|_| permission(draw)).collect();
    json!({
        "created_at": draw.before(30),
        "description": format!("What a {} may do", name.to_lowercase()),
        "id": draw.id("role"),
        "is_creator_eligible": draw.chance(30),
        "key": key,
        "name": name,
        "object": "role",
        "permissions": permissions,
        "updated_at": draw.now(),
    })
}

pub(super) fn role_deleted(draw: &mut Draw<'_>) -> Value {
    let mut gone = gone(draw, "role", "role");
    gone["slug"] = Value::Null;
    gone
}

pub(super) fn permission(draw: &mut Draw<'_>) -> Value {
    let (feature, verb) = (
        draw.pick(&["invoices", "projects", "reports"]),
        draw.pick(&["read", "write", "export"]),
    );
    json!({
        "created_at": draw.before(30),
        "description": format!("May {verb} the {feature} of the organization"),
        "id": draw.id("perm"),
        "key": format!("org:{feature}:{verb}"),
        "name": format!("{verb} {feature}"),
        "object": "permission",
        "type": "custom",
        "updated_at": draw.now(),
    })
}

pub(super) fn waiting(draw: &mut Draw<'_>) -> Value {
    json!({
        "created_at": draw.before(14),
        "email_address": draw.person().email,
        "id": draw.id("wle"),
        "invitation": null,
        "is_locked": false,
        "object": "waitlist_entry",
        "status": "pending",
        "updated_at": draw.now(),
    })
}

pub(super) fn invited(draw: &mut Draw<'_>) -> Value {
    let mut entry = waiting(draw);
    entry["status"] = json!("invited");
    entry["invitation"] = json!({
        "created_at": draw.now(),
        "email_address": entry["email_address"],
        "id": draw.id("inv"),
        "object": "invitation",
        "status": "pending",
        "updated_at": draw.now(),
    });
    entry
}
