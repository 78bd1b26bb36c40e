//! What must not stand in a file: `${NAME}` and `${env:NAME}` for a value of the
//! environment, `${file:PATH}` for the content of another file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// Longest file that a reference may name, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where values come from.
pub(super) struct Values<'a> {
    /// Given on the command line.
    pub(super) given: &'a BTreeMap<String, String>,
    /// Paths start here.
    pub(super) folder: &'a Path,
}

impl Values<'_> {
    /// Fills references everywhere but in rules and conditions, where `$` has its
    /// own meaning.
    pub(super) fn fill(&self, value: &mut Value) -> Result<(), Failure> {
        match value {
            Value::String(text) if text.contains("${") => *text = self.filled(text)?,
            Value::Array(items) => {
                for item in items {
                    self.fill(item)?;
                }
            }
            Value::Object(entries) => {
                for (key, entry) in entries {
                    if key != "rules" && key != "conditions" {
                        self.fill(entry)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn filled(&self, text: &str) -> Result<String, Failure> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, behind)) = after.split_once('}') else {
                break;
            };
            result.push_str(before);
            result.push_str(&self.value(name)?);
            rest = behind;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn value(&self, name: &str) -> Result<String, Failure> {
        if let Some(path) = name.strip_prefix("file:") {
            return self.content(path);
        }
        let name = name.strip_prefix("env:").unwrap_or(name);
        let given = self.given.get(name).cloned();
        given.or_else(|| of_environment(name)).ok_or_else(|| {
            Failure::new(
                "VARIABLE_MISSING",
                format!("the file names `${{{name}}}`, which has no value"),
            )
            .hint(format!("give it with --set {name}=value, or export {name}"))
        })
    }

    /// Without the line end that editors put behind the last line.
    fn content(&self, path: &str) -> Result<String, Failure> {
        let path = self.folder.join(path);
        let told = |error: &std::io::Error| {
            Failure::file(&path, error)
                .hint("`${file:…}` is read from the folder of the file that names it")
        };
        let length = std::fs::metadata(&path)
            .map_err(|error| told(&error))?
            .len();
        if length > MAX_FILE {
            let text = format!("{} has {length} bytes", path.display());
            return Err(Failure::new("FILE_TOO_LARGE", text)
                .hint(format!("at most {MAX_FILE} bytes are read for a value")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| told(&error))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
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

    fn filled(folder: &Path, mut value: Value) -> Result<Value, Failure> {
        let given = BTreeMap::from([("SECRET".to_owned(), "whsec_x".to_owned())]);
        let given = &given;
        Values { given, folder }.fill(&mut value)?;
        Ok(value)
    }

    #[test]
    fn references_are_filled_in_everywhere_but_in_rules_and_conditions() {
        let rule = json!([{"body": {"$regex": "^${SECRET}$"}}]);
        let file = json!({
            "a": "x${SECRET}y", "b": ["${env:SECRET}"], "rules": rule, "conditions": rule,
        });
        let file = filled(Path::new("."), file).unwrap();
        assert_eq!(
            (&file["a"], &file["b"][0]),
            (&json!("xwhsec_xy"), &json!("whsec_x"))
        );
        assert_eq!((&file["rules"], &file["conditions"]), (&rule, &rule));
    }

    #[test]
    fn a_secret_can_stand_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "whsec_y\n").unwrap();
        let file = filled(folder.path(), json!("${file:secret}")).unwrap();
        assert_eq!(file, json!("whsec_y"));
        let failure = filled(folder.path(), json!("${file:none}")).unwrap_err();
        assert!(failure.message.contains("none"), "{failure:?}");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let failure = filled(Path::new("."), json!("${HOOKPLANE_NO_SUCH_NAME}")).unwrap_err();
        let hint = failure.hint.unwrap();
        assert!(hint.contains("--set HOOKPLANE_NO_SUCH_NAME="), "{hint}");
    }
}
