//! Names where ids are.

use hookplane_client::Client;

use super::kind::Kind;
use crate::failure::Failure;

/// Most resources of one name that are told apart.
const SAME_NAME: u32 = 10;

/// The resource that a name or an id means.
pub(crate) async fn resolve<K: Kind>(client: &Client, text: &str) -> Result<K::Message, Failure> {
    if text.starts_with(K::PREFIX) {
        return K::get(client, text).await;
    }
    let mut found = find_by_name::<K>(client, text).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(
            Failure::new("NOT_FOUND", format!("no {} is named `{text}`", K::NOUN))
                .hint(format!("`hookplane {}s list` shows what there is", K::NOUN)),
        ),
        _ => {
            let ids: Vec<&str> = found.iter().map(K::id).collect();
            Err(Failure::new(
                "NAME_AMBIGUOUS",
                format!("several {}s are named `{text}`", K::NOUN),
            )
            .hint(format!("give the id: {}", ids.join(" or "))))
        }
    }
}

/// Every resource of exactly this name; connections are named per source.
pub(crate) async fn find_by_name<K: Kind>(
    client: &Client,
    name: &str,
) -> Result<Vec<K::Message>, Failure> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let page = K::list(client, SAME_NAME, String::new(), name).await?;
    Ok(page
        .models
        .into_iter()
        .filter(|message| K::name(message) == name)
        .collect())
}
