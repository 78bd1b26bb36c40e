//! The files: resources of all kinds, put together to one configuration.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use hookplane_client::v1::{Connection, Destination, Filter, Source};
use serde_json::Value;

use super::files;
use super::reference::Values;
use crate::failure::Failure;
use crate::shape::{
    self, ConnectionShape, DestinationShape, Endpoint, FilterShape, InvalidShape, Shape,
    SourceShape,
};

/// Everything the files ask for.
#[derive(Default)]
pub(crate) struct Document {
    pub(crate) sources: Vec<Source>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) connections: Vec<Connection>,
}

impl Document {
    /// Reads and understands everything.
    pub(crate) fn read(path: &Path, variables: &[(String, String)]) -> Result<Self, Failure> {
        let given: BTreeMap<_, _> = variables.iter().cloned().collect();
        let mut document = Self::default();
        for path in files::of(path)? {
            let mut file = shape::read_file(&path)?;
            let folder = path.parent().unwrap_or(Path::new("."));
            let given = &given;
            Values { given, folder }.fill(&mut file)?;
            document
                .take(file)
                .map_err(|failure| in_file(failure, &path))?;
        }
        document.refuse_doubles()?;
        Ok(document)
    }

    fn take(&mut self, file: Value) -> Result<(), Failure> {
        let Value::Object(parts) = file else {
            return Err(nothing_in("the file is not an object"));
        };
        for (key, list) in parts {
            let Value::Array(items) = list else {
                return Err(nothing_in(&format!("`{key}` is not a list")));
            };
            match key.as_str() {
                "sources" => {
                    self.sources
                        .extend(each(items, "sources", |shape: SourceShape| {
                            required(shape.name.as_ref(), "name")?;
                            shape.to_proto()
                        })?);
                }
                "destinations" => {
                    let read = each(items, "destinations", |shape: DestinationShape| {
                        required(shape.name.as_ref(), "name")?;
                        shape.to_proto()
                    })?;
                    self.destinations.extend(read);
                }
                "filters" => {
                    self.filters
                        .extend(each(items, "filters", |shape: FilterShape| {
                            required(shape.name.as_ref(), "name")?;
                            Ok(shape.to_proto())
                        })?);
                }
                "connections" => {
                    self.connections
                        .extend(each(items, "connections", connection)?);
                }
                other => return Err(nothing_in(&format!("`{other}` is not known"))),
            }
        }
        Ok(())
    }

    fn refuse_doubles(&self) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        let sources = self.sources.iter().map(|one| ("source", one.name.clone()));
        let destinations = self
            .destinations
            .iter()
            .map(|one| ("destination", one.name.clone()));
        let filters = self.filters.iter().map(|one| ("filter", one.name.clone()));
        let connections = self.connections.iter().map(|one| {
            let from = one.source.as_ref().map(|source| source.name.as_str());
            let from = from.unwrap_or(&one.source_id);
            ("connection", format!("{} of {from}", one.name))
        });
        let all = sources
            .chain(destinations)
            .chain(filters)
            .chain(connections);
        for (kind, name) in all {
            if !seen.insert((kind, name.clone())) {
                let text = format!("{kind} `{name}` is asked for twice");
                return Err(Failure::new("FILE_INVALID", text).hint("give each its own name"));
            }
        }
        Ok(())
    }
}

fn in_file(mut failure: Failure, path: &Path) -> Failure {
    if path != Path::new("-") {
        failure.message = format!("{}: {}", path.display(), failure.message);
    }
    failure
}

fn nothing_in(detail: &str) -> Failure {
    Failure::new("FILE_INVALID", "the file is not a configuration")
        .detail(detail)
        .hint("a file has lists named `sources`, `destinations`, `filters` and `connections`")
}

fn required(value: Option<&String>, field: &str) -> Result<String, InvalidShape> {
    value
        .filter(|text| !text.is_empty())
        .cloned()
        .ok_or_else(|| InvalidShape::new(field, "it is needed here"))
}

/// Its ends by id when they look like one, by name otherwise.
fn connection(shape: ConnectionShape) -> Result<Connection, InvalidShape> {
    let end = |end: &Option<Endpoint>| end.as_ref().map(|Endpoint(text)| text.clone());
    let source = required(end(&shape.source).as_ref(), "source")?;
    let destination = required(end(&shape.destination).as_ref(), "destination")?;
    required(shape.name.as_ref(), "name")?;
    let mut message = shape.to_proto()?;
    if source.starts_with("src_") {
        message.source_id = source;
    } else {
        message.source = Some(Source {
            name: source,
            ..Source::default()
        });
    }
    if destination.starts_with("des_") {
        message.destination_id = destination;
    } else {
        message.destination = Some(Destination {
            name: destination,
            ..Destination::default()
        });
    }
    Ok(message)
}

/// Reads each item of a list; errors say which one.
fn each<S: Shape, M>(
    items: Vec<Value>,
    list: &str,
    convert: impl Fn(S) -> Result<M, InvalidShape>,
) -> Result<Vec<M>, Failure> {
    let mut all = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let name = item["name"].as_str().unwrap_or("without a name").to_owned();
        let place = format!("{list}[{index}] ({name})");
        let message = shape::read::<S>(item)
            .and_then(&convert)
            .map_err(|invalid| invalid.in_resource(&place))?;
        all.push(message);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_named_with_its_place() {
        let file = json!({"sources": [{"name": "a"}, {"name": "b", "tpye": "CLERK"}]});
        let failure = Document::default().take(file).err().unwrap();
        assert_eq!(failure.message, "sources[1] (b) is not right");
        assert_eq!(failure.fields[0].0, "tpye");
    }

    #[test]
    fn a_name_cannot_stand_twice_not_even_in_two_files() {
        let mut document = Document::default();
        for _ in 0..2 {
            let file = json!({"destinations": [{"name": "a"}]});
            document.take(file).expect("each is right alone");
        }
        let failure = document.refuse_doubles().err().unwrap();
        assert_eq!(failure.message, "destination `a` is asked for twice");
    }
}
