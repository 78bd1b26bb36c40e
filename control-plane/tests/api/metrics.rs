//! Series without any numbers: zero-filled, bounded, on each database.

use super::http::send;
use super::plane::{Plane, clerk};

#[tokio::test]
async fn a_series_has_no_gaps_and_cannot_be_too_fine() {
    for plane in Plane::on_each_database().await {
        let source = plane.create_source(clerk("Clerk")).await.expect("a source");
        let to = plane.create_destination("users").await;
        let path = "/metrics/requests?from=now-1h&granularity=5m";
        let (status, _, told) = send(&plane, "GET", path, &[], "").await;
        assert_eq!(status, 200, "{told}");
        let points = told["models"].as_array().expect("a list").len();
        assert!((12..=13).contains(&points), "{told}");
        assert_eq!(told["models"][0]["count"], 0);
        let path = format!("/v1/metrics/sources?id={}", source.id);
        let (_, _, told) = send(&plane, "GET", &path, &[], "").await;
        let day = &told["models"][0];
        assert_eq!(
            day["requests_24h_bins"],
            serde_json::json!([0, 0, 0, 0, 0, 0])
        );
        let path = format!("/v1/metrics/destinations?id={}", to.id);
        let (_, _, told) = send(&plane, "GET", &path, &[], "").await;
        assert_eq!(told["models"][0]["attempts_24h_count"], 0, "{told}");
        for bad in [
            "/v1/metrics/requests?from=now-7d",
            "/v1/metrics/requests?granularity=1s",
            "/v1/metrics/sources",
            "/v1/metrics/sources?id=des_1",
        ] {
            let (status, _, told) = send(&plane, "GET", bad, &[], "").await;
            assert_eq!(status, 400, "{bad}: {told}");
        }
    }
}
