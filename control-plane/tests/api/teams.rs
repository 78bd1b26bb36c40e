//! Teams see nothing of each other: every method there is, called by one team
//! with everything that names what belongs to another.

use std::time::Duration;

use bytes::Bytes;
use hookplane_proto::v1;
use hookplane_proto::v1::installation_service_client::InstallationServiceClient;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value};
use tokio::time::timeout;
use tonic::Code;

use super::plane::{Plane, clerk, connection};

/// Stands in what the first team owns and in nothing that the second one sends.
const MARK: &str = "only the first team knows this";
/// For streams: what they tell at once has come by then.
const FIRST_WORDS: Duration = Duration::from_millis(300);

struct Owned {
    source: v1::Source,
    destination: v1::Destination,
    connection: v1::Connection,
    key: v1::ApiKey,
}

impl Owned {
    fn ids(&self) -> Vec<&str> {
        vec![
            &self.source.id,
            &self.destination.id,
            &self.connection.id,
            &self.key.id,
            &self.source.team_id,
        ]
    }

    /// The id that a field of this name asks for.
    fn id_for<'a>(&'a self, field: &str, id: &'a str) -> &'a str {
        match field {
            "source_id" => &self.source.id,
            "destination_id" => &self.destination.id,
            "connection_id" | "webhook_id" => &self.connection.id,
            "key_id" => &self.key.id,
            "team_id" => &self.source.team_id,
            _ => id,
        }
    }
}

async fn belongings(plane: &Plane) -> Owned {
    let source = v1::Source {
        description: MARK.to_owned(),
        ..clerk("Clerk")
    };
    let source = plane.create_source(source).await.expect("it is right");
    let destination = plane.create_destination("users").await;
    let asked = v1::Connection {
        description: MARK.to_owned(),
        ..connection("both", &source.id, &destination.id)
    };
    let asked = v1::CreateConnectionRequest {
        connection: Some(asked),
        ..v1::CreateConnectionRequest::default()
    };
    let connection = plane.connections().create_connection(asked).await;
    // Not the one that makes teams: their records name that one.
    let key = v1::CreateApiKeyRequest {
        name: "theirs".to_owned(),
        ..v1::CreateApiKeyRequest::default()
    };
    let key = plane.keys().create_api_key(key).await;
    Owned {
        source,
        destination,
        connection: connection.expect("it is right").into_inner(),
        key: key.expect("it is right").into_inner(),
    }
}

async fn second_team(plane: &Plane) -> v1::CreateTeamResponse {
    let name = "second".to_owned();
    let asked = v1::CreateTeamRequest { name };
    let made = plane.installation().create_team(asked).await;
    made.expect("the name is free").into_inner()
}

/// A message in which everything that can name something names the other team's.
fn prying(descriptor: MessageDescriptor, owned: &Owned, id: &str, depth: u32) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let name = field.name();
        match field.kind() {
            Kind::String if field.is_list() && name.contains("id") => {
                let all = owned
                    .ids()
                    .into_iter()
                    .map(|id| Value::String(id.to_owned()));
                message.set_field(&field, Value::List(all.collect()));
            }
            Kind::String if field.is_list() || field.is_map() => {}
            Kind::String if name == "id" || name.ends_with("_id") => {
                let id = owned.id_for(name, id).to_owned();
                message.set_field(&field, Value::String(id));
            }
            Kind::String if name == "name" => {
                message.set_field(&field, Value::String(owned.source.name.clone()));
            }
            Kind::Message(inner)
                if depth < 2
                    && !field.is_list()
                    && !field.is_map()
                    && !inner.full_name().starts_with("google.")
                    && field.containing_oneof().is_none() =>
            {
                let inner = prying(inner, owned, id, depth + 1);
                message.set_field(&field, Value::Message(inner));
            }
            _ => {}
        }
    }
    message
}

/// What a call answered: the bytes of its messages, nothing of its errors.
async fn answer(plane: &Plane, key: &str, path: &str, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    frame.extend_from_slice(message);
    let request = http::Request::post(format!("http://{}{path}", plane.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::new(Bytes::from(frame)))
        .expect("a request");
    let answer = plane.raw.request(request).await.expect("an answer");
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout(FIRST_WORDS, body.frame()).await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes
}

fn api_methods() -> Vec<MethodDescriptor> {
    let pool = hookplane_proto::descriptor_pool();
    let services = pool.services();
    let api = services.filter(|service| service.full_name().starts_with("hookplane.v1."));
    api.flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Everything that the lists show to a key.
async fn everything(plane: &Plane, key: &str) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    let kept = [
        "ListSources",
        "ListDestinations",
        "ListConnections",
        "ListAudit",
    ];
    for method in api_methods() {
        if kept.contains(&method.name()) {
            seen.push((path(&method), answer(plane, key, &path(&method), &[]).await));
        }
    }
    seen
}

/// The same message about things that nobody has.
fn nobodys(owned: &Owned, asked: &[u8]) -> Vec<u8> {
    let mut bytes = asked.to_vec();
    for id in owned.ids() {
        let places: Vec<usize> = (0..bytes.len().saturating_sub(id.len() - 1))
            .filter(|&place| bytes[place..].starts_with(id.as_bytes()))
            .collect();
        for place in places {
            let last = place + id.len() - 1;
            bytes[last] = if bytes[last] == b'0' { b'1' } else { b'0' };
        }
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn no_method_shows_or_changes_anything_of_another_team() {
    for plane in Plane::on_each_database().await {
        let owned = belongings(&plane).await;
        let second = second_team(&plane).await;
        let key = second.api_key.expect("it comes with the team").key;
        let before = everything(&plane, &plane.key).await;
        let mut secrets = owned.ids();
        secrets.push(MARK);
        assert!(
            before.iter().any(|(_, bytes)| holds(bytes, MARK)),
            "the first team does not see its own"
        );
        for method in api_methods() {
            let path = path(&method);
            for id in owned.ids() {
                let asked = prying(method.input(), &owned, id, 0).encode_to_vec();
                let told = answer(&plane, &key, &path, &asked).await;
                assert!(!holds(&told, MARK), "{path} with {id} tells what is inside");
                // Some answers repeat the id they were asked about: then they say as
                // much about one that nobody has.
                let nobodys = nobodys(&owned, &asked);
                let echo = answer(&plane, &key, &path, &nobodys).await;
                if told.len() == echo.len() {
                    continue;
                }
                for secret in &secrets {
                    assert!(!holds(&told, secret), "{path} with {id} tells {secret}");
                }
            }
            let told = answer(&plane, &key, &path, &[]).await;
            for secret in &secrets {
                assert!(!holds(&told, secret), "{path} tells {secret}");
            }
        }
        let after = everything(&plane, &plane.key).await;
        for ((path, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!(before, after, "{path}: another team changed it");
        }
    }
}

#[tokio::test]
async fn a_team_is_made_with_a_key_that_rules_the_team_and_nothing_above_it() {
    let plane = Plane::on_sqlite().await;
    let second = second_team(&plane).await;
    let key = second.api_key.expect("it comes with the team");
    assert!(!key.scopes.contains(&"installation:admin".to_owned()));
    let made = plane
        .sources_with(&key.key)
        .create_source(v1::CreateSourceRequest {
            source: Some(clerk("Clerk")),
            ..v1::CreateSourceRequest::default()
        })
        .await;
    let made = made.expect("it has a place of its own").into_inner();
    assert_eq!(Some(made.team_id), second.team.map(|team| team.id));
    let bearer = Plane::bearer(&key.key);
    let mut installation =
        InstallationServiceClient::with_interceptor(plane.channel.clone(), bearer);
    let name = "third".to_owned();
    let refused = installation
        .create_team(v1::CreateTeamRequest { name })
        .await;
    assert_eq!(
        refused.expect_err("above the team").code(),
        Code::PermissionDenied
    );
}
