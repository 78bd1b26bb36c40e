//! The file: resources of all kinds, with `${NAME}` for what must not stand in it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use hookplane_client::v1::{Connection, Destination, Source};
use serde_json::Value;

use crate::failure::Failure;
use crate::shape::{
    self, ConnectionShape, DestinationShape, Endpoint, InvalidShape, Shape, SourceShape,
};

/// One resource, and where it stands in the file.
pub(super) struct Written<M> {
    /// `sources[0] (clerk)`
    pub(super) place: String,
    pub(super) message: M,
}

/// A connection with its ends as the file names them.
pub(super) struct WrittenConnection {
    pub(super) written: Written<Connection>,
    pub(super) source: String,
    pub(super) destination: String,
}

/// Everything the file asks for.
#[derive(Default)]
pub(super) struct Document {
    pub(super) sources: Vec<Written<Source>>,
    pub(super) destinations: Vec<Written<Destination>>,
    pub(super) connections: Vec<WrittenConnection>,
}

impl Document {
    /// Reads and understands the whole file.
    pub(super) fn read(path: &Path, variables: &[(String, String)]) -> Result<Self, Failure> {
        let mut file = shape::read_file(path)?;
        let variables: BTreeMap<_, _> = variables.iter().cloned().collect();
        substitute(&mut file, &variables)?;
        Self::understand(file)
    }

    fn understand(file: Value) -> Result<Self, Failure> {
        let Value::Object(parts) = file else {
            return Err(nothing_in("the file is not an object"));
        };
        let mut document = Self::default();
        for (key, list) in parts {
            let Value::Array(items) = list else {
                return Err(nothing_in(&format!("`{key}` is not a list")));
            };
            match key.as_str() {
                "sources" => {
                    document.sources = each(items, "sources", |shape: SourceShape| {
                        Ok((required(shape.name.as_ref(), "name")?, shape.to_proto()?))
                    })?;
                }
                "destinations" => {
                    document.destinations =
                        each(items, "destinations", |shape: DestinationShape| {
                            Ok((required(shape.name.as_ref(), "name")?, shape.to_proto()?))
                        })?;
                }
                "connections" => document.connections = connections(items)?,
                other => return Err(nothing_in(&format!("`{other}` is not known"))),
            }
        }
        document.refuse_doubles()?;
        Ok(document)
    }

    fn refuse_doubles(&self) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        let sources = self
            .sources
            .iter()
            .map(|one| ("source", one.message.name.clone()));
        let destinations = self
            .destinations
            .iter()
            .map(|one| ("destination", one.message.name.clone()));
        let connections = self.connections.iter().map(|one| {
            (
                "connection",
                format!("{} of {}", one.written.message.name, one.source),
            )
        });
        for (kind, name) in sources.chain(destinations).chain(connections) {
            if !seen.insert((kind, name.clone())) {
                return Err(Failure::new(
                    "FILE_INVALID",
                    format!("the file has {kind} `{name}` twice"),
                )
                .hint("give each its own name"));
            }
        }
        Ok(())
    }
}

fn nothing_in(detail: &str) -> Failure {
    Failure::new("FILE_INVALID", "the file is not a configuration")
        .detail(detail)
        .hint("a file has lists named `sources`, `destinations` and `connections`")
}

fn required(value: Option<&String>, field: &str) -> Result<String, InvalidShape> {
    value
        .filter(|text| !text.is_empty())
        .cloned()
        .ok_or_else(|| InvalidShape::new(field, "it is needed here"))
}

fn connections(items: Vec<Value>) -> Result<Vec<WrittenConnection>, Failure> {
    let read = each(items, "connections", |shape: ConnectionShape| {
        let end = |end: &Option<Endpoint>| end.as_ref().map(|Endpoint(text)| text.clone());
        let source = required(end(&shape.source).as_ref(), "source")?;
        let destination = required(end(&shape.destination).as_ref(), "destination")?;
        let name = required(shape.name.as_ref(), "name")?;
        Ok((name, (shape.to_proto()?, source, destination)))
    })?;
    Ok(read
        .into_iter()
        .map(|Written { place, message }| WrittenConnection {
            written: Written {
                place,
                message: message.0,
            },
            source: message.1,
            destination: message.2,
        })
        .collect())
}

/// Reads each item of a list; errors say which one.
fn each<S: Shape, M>(
    items: Vec<Value>,
    list: &str,
    convert: impl Fn(S) -> Result<(String, M), InvalidShape>,
) -> Result<Vec<Written<M>>, Failure> {
    let mut all = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let name = item["name"].as_str().unwrap_or("without a name").to_owned();
        let place = format!("{list}[{index}] ({name})");
        let (_, message) = shape::read::<S>(item)
            .and_then(&convert)
            .map_err(|invalid| invalid.in_resource(&place))?;
        all.push(Written { place, message });
    }
    Ok(all)
}

/// Puts values in the place of `${NAME}`, outside of rules, where `$` has its own meaning.
fn substitute(value: &mut Value, variables: &BTreeMap<String, String>) -> Result<(), Failure> {
    match value {
        Value::String(text) if text.contains("${") => *text = filled(text, variables)?,
        Value::Array(items) => {
            for item in items {
                substitute(item, variables)?;
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                if key != "rules" {
                    substitute(entry, variables)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn filled(text: &str, variables: &BTreeMap<String, String>) -> Result<String, Failure> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        result.push_str(before);
        let value = variables
            .get(name)
            .cloned()
            .or_else(|| of_environment(name));
        result.push_str(&value.ok_or_else(|| {
            Failure::new(
                "VARIABLE_MISSING",
                format!("the file names `${{{name}}}`, which has no value"),
            )
            .hint(format!("give it with --set {name}=value, or export {name}"))
        })?);
        rest = behind;
    }
    result.push_str(rest);
    Ok(result)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the file chooses the name, so clap cannot know it beforehand"
)]
fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        BTreeMap::from([("SECRET".to_owned(), "whsec_x".to_owned())])
    }

    #[test]
    fn variables_are_filled_in_everywhere_but_in_rules() {
        let mut file = json!({"a": "x${SECRET}y", "rules": [{"body": {"$regex": "^${SECRET}$"}}]});
        substitute(&mut file, &variables()).unwrap();
        assert_eq!(file["a"], "xwhsec_xy");
        assert_eq!(file["rules"][0]["body"]["$regex"], "^${SECRET}$");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let failure = filled("${HOOKPLANE_NO_SUCH_NAME}", &variables()).unwrap_err();
        assert!(
            failure
                .hint
                .unwrap()
                .contains("--set HOOKPLANE_NO_SUCH_NAME=")
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_named_with_its_place() {
        let file = json!({"sources": [{"name": "a"}, {"name": "b", "tpye": "CLERK"}]});
        let failure = Document::understand(file).err().unwrap();
        assert_eq!(failure.message, "sources[1] (b) is not right");
        assert_eq!(failure.fields[0].0, "tpye");
    }

    #[test]
    fn a_name_cannot_stand_twice() {
        let file = json!({"destinations": [{"name": "a"}, {"name": "a"}]});
        let failure = Document::understand(file).err().unwrap();
        assert_eq!(failure.message, "the file has destination `a` twice");
    }
}
