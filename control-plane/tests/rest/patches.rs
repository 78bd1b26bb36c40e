//! Patches: the mask is what the body holds.

use hookplane_proto::v1;
use serde_json::json;

use crate::api::Api;

async fn mask_of(body: &serde_json::Value) -> (Vec<String>, v1::Source) {
    let api = Api::new();
    let answer = api.call("PATCH", "/v1/sources/src_1", body.to_string());
    answer.await.json(200);
    let seen: v1::PatchSourceRequest = api.echo.last();
    assert_eq!(seen.id, "src_1");
    let mut paths = seen.update_mask.unwrap().paths;
    paths.sort();
    (paths, seen.source.unwrap_or_default())
}

#[tokio::test]
async fn the_mask_holds_the_fields_present() {
    let (mask, source) = mask_of(&json!({"status": "disabled"})).await;
    assert_eq!(mask, ["status"]);
    assert_eq!(source.status(), v1::SourceStatus::Disabled);

    // Defaults and null are changes too.
    let (mask, source) = mask_of(&json!({"description": null, "name": "", "labels": {}})).await;
    assert_eq!(mask, ["description", "labels", "name"]);
    assert_eq!(source.description, "");
}

#[tokio::test]
async fn a_patch_of_one_key_of_the_config_leaves_the_others() {
    let (mask, _) = mask_of(&json!({"config": {"allowed_http_methods": ["POST"]}})).await;
    assert_eq!(mask, ["config.allowed_http_methods"]);

    let auth = json!({"auth_type": "BASIC_AUTH", "auth": {"username": "u", "password": "p"}});
    let (mask, source) = mask_of(&json!({ "config": auth })).await;
    assert_eq!(mask, ["config.auth"]);
    assert!(source.config.unwrap().auth.is_some());

    let (mask, _) = mask_of(&json!({"config": {"auth_type": null}})).await;
    assert_eq!(mask, ["config.auth"]);
    let (mask, _) = mask_of(&json!({"config": {"custom_response": null}})).await;
    assert_eq!(mask, ["config.custom_response"]);
    let (mask, source) = mask_of(&json!({"config": null})).await;
    assert_eq!(mask, ["config"]);
    assert!(source.config.is_none());
}

#[tokio::test]
async fn the_mask_speaks_of_the_fields_of_the_service() {
    let api = Api::new();
    let body = json!({"destination": {"id": "des_2"}, "rules": []});
    let answer = api.call("PATCH", "/v1/connections/web_1", body.to_string());
    answer.await.json(200);
    let seen: v1::PatchConnectionRequest = api.echo.last();
    let mut paths = seen.update_mask.unwrap().paths;
    paths.sort();
    assert_eq!(paths, ["destination_id", "rules"]);
    assert_eq!(seen.connection.unwrap().destination_id, "des_2");
}

#[tokio::test]
async fn a_patch_that_changes_nothing_is_refused() {
    for body in ["{}", r#"{"config":{}}"#, ""] {
        let api = Api::new();
        let answer = api.call("PATCH", "/v1/sources/src_1", body).await.json(400);
        assert_eq!(answer["fields"][0]["field"], "body", "{answer}");
        assert_eq!(api.echo.calls(), 0);
    }
}
