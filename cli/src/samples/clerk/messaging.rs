//! What is sent to people. Mails carry a whole page of HTML and a one-time code.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::samples::draw::{Company, Draw};

pub(super) fn email(draw: &mut Draw<'_>) -> Value {
    let (person, company) = (draw.person(), draw.company());
    let code = draw.digits(6);
    let asked = draw.text_time();
    let device = draw.pick(&["Firefox on Linux", "Safari on macOS", "Chrome on Windows"]);
    let accounts = format!("https://accounts.{}.example.com", company.slug);
    json!({
        "body": html(company, &code, &asked, device, &accounts),
        "body_plain": format!(
            "{code} is your sign-in code for {}.\n\nGive it to nobody.\n\nIt was asked for on {asked} with {device}. If that was not you, do nothing.\n",
            company.name
        ),
        "data": {
            "app": {
                "domain_name": format!("{}.example.com", company.slug),
                "logo_image_url": format!("{accounts}/logo.png"),
                "logo_url": null,
                "name": company.name,
                "url": accounts,
            },
            "otp_code": code,
            "requested_at": asked,
            "requested_by": device,
            "theme": {
                "button_text_color": "#ffffff",
                "primary_color": format!("#{}", draw.hex(6)),
                "show_clerk_branding": draw.chance(50),
            },
            "user": {"public_metadata": {}, "public_metadata_fallback": ""},
        },
        "delivered_by_clerk": true,
        "email_address_id": draw.id("idn"),
        "from_email_name": "notifications",
        "id": draw.id("ema"),
        "object": "email",
        "slug": "verification_code",
        "status": "queued",
        "subject": format!("{code} is your sign-in code"),
        "to_email_address": person.email,
        "user_id": draw.id("user"),
    })
}

pub(super) fn sms(draw: &mut Draw<'_>) -> Value {
    let code = draw.digits(6);
    json!({
        "created_at": draw.now(),
        "data": {},
        "delivered_by_clerk": true,
        "from_phone_number": draw.phone(),
        "id": draw.id("sms"),
        "message": format!("{code} is your sign-in code for {}. Give it to nobody.", draw.company().name),
        "object": "sms_message",
        "phone_number_id": draw.id("idn"),
        "slug": "verification_code",
        "status": "queued",
        "to_phone_number": draw.phone(),
        "user_id": draw.id("user"),
    })
}

/// A mail as mail programs need it: nested tables, every style on its element.
fn html(company: Company, code: &str, asked: &str, device: &str, accounts: &str) -> String {
    let mut page = String::with_capacity(8192);
    page.push_str(HEAD);
    let name = company.name.replace('&', "&amp;");
    cell(
        &mut page,
        "padding:32px 40px 0 40px",
        &format!(
            "<a href=\"{accounts}\" style=\"text-decoration:none;color:#16181d\"><img src=\"{accounts}/logo.png\" alt=\"{name}\" height=\"32\" style=\"display:block;border:0;outline:none;height:32px;max-width:100%\" /></a>"
        ),
    );
    cell(
        &mut page,
        "padding:24px 40px 0 40px;font-size:22px;line-height:28px;font-weight:700",
        &format!("Sign in to {name}"),
    );
    cell(
        &mut page,
        "padding:16px 40px 0 40px;font-size:15px;line-height:22px",
        "Type this code where you were asked for it. It is good for ten minutes and for one time only.",
    );
    let mut boxes = String::new();
    for digit in code.chars() {
        boxes.push_str(&format!(
            "<td align=\"center\" valign=\"middle\" width=\"48\" height=\"60\" style=\"width:48px;height:60px;border:1px solid #d4d7de;border-radius:8px;background-color:#f7f8fa;font-family:'Courier New',Courier,monospace;font-size:30px;line-height:60px;font-weight:700;color:#16181d\">{digit}</td><td width=\"8\" style=\"width:8px;font-size:0;line-height:0\">&nbsp;</td>"
        ));
    }
    cell(
        &mut page,
        "padding:28px 40px 4px 40px",
        &format!(
            "<table role=\"presentation\" border=\"0\" cellpadding=\"0\" cellspacing=\"0\"><tr>{boxes}</tr></table>"
        ),
    );
    for line in [
        format!("It was asked for on <strong>{asked}</strong> with <strong>{device}</strong>."),
        "Nobody who works for us will ever ask you for this code. Give it to nobody, whatever they say.".to_owned(),
        "If you did not try to sign in, do nothing: without the code nobody gets in. Should it happen again, choose another password.".to_owned(),
    ] {
        cell(&mut page, "padding:16px 40px 0 40px;font-size:13px;line-height:20px;color:#5b6170", &line);
    }
    cell(
        &mut page,
        "padding:32px 40px 40px 40px;font-size:12px;line-height:18px;color:#8a90a0",
        &format!(
            "This mail was sent by {name}. <a href=\"{accounts}/help\" style=\"color:#8a90a0;text-decoration:underline\">Help</a> &middot; <a href=\"{accounts}/privacy\" style=\"color:#8a90a0;text-decoration:underline\">Privacy</a>"
        ),
    );
    page.push_str(
        "          </table>\n        </td>\n      </tr>\n    </table>\n  </body>\n</html>\n",
    );
    page
}

fn cell(page: &mut String, style: &str, inner: &str) {
    let written = writeln!(
        page,
        "            <tr>\n              <td align=\"left\" style=\"{style};font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif\">\n                {inner}\n              </td>\n            </tr>"
    );
    debug_assert!(written.is_ok(), "a String takes everything");
}

const HEAD: &str = r##"<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <meta name="supported-color-schemes" content="light dark" />
    <title>Your sign-in code</title>
    <style type="text/css">
      html, body { margin: 0 auto !important; padding: 0 !important; height: 100% !important; width: 100% !important; }
      * { -ms-text-size-adjust: 100%; -webkit-text-size-adjust: 100%; }
      table, td { mso-table-lspace: 0pt !important; mso-table-rspace: 0pt !important; border-collapse: separate; }
      img { -ms-interpolation-mode: bicubic; }
      a[x-apple-data-detectors] { color: inherit !important; text-decoration: none !important; font-size: inherit !important; }
      @media only screen and (max-width: 600px) {
        .card { width: 100% !important; border-radius: 0 !important; }
        .outer { padding: 0 !important; }
      }
      @media (prefers-color-scheme: dark) {
        .ground { background-color: #0e1014 !important; }
        .card { background-color: #1a1d24 !important; color: #f2f4f8 !important; }
      }
    </style>
  </head>
  <body class="ground" style="margin:0;padding:0;background-color:#eef0f4">
    <div style="display:none;max-height:0;overflow:hidden;font-size:1px;line-height:1px;color:#eef0f4">A code to sign in with. It is good for ten minutes.&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;</div>
    <table class="ground" role="presentation" border="0" cellpadding="0" cellspacing="0" width="100%" style="width:100%;background-color:#eef0f4">
      <tr>
        <td class="outer" align="center" style="padding:40px 16px">
          <table class="card" role="presentation" border="0" cellpadding="0" cellspacing="0" width="560" style="width:560px;max-width:560px;background-color:#ffffff;border-radius:12px;color:#16181d">
"##;
