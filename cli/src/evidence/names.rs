//! Names for the ids in evidence, fetched once. Without them, ids are shown.

use std::collections::HashMap;

use hookplane_client::Client;

use crate::resources::{Connections, Destinations, Kind, PageArgs, Sources, each_page};

/// Names of sources, destinations and connections by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(HashMap<String, String>);

impl Names {
    /// Asks for all of them. What cannot be had is shown by id: evidence counts more.
    pub(crate) async fn fetch(client: &Client) -> Self {
        let mut names = Self::default();
        names.add::<Sources>(client).await;
        names.add::<Destinations>(client).await;
        names.add::<Connections>(client).await;
        names
    }

    async fn add<K: Kind>(&mut self, client: &Client) {
        let all = PageArgs {
            limit: 255,
            all: true,
            page_token: None,
        };
        let listed = each_page(&all, |limit, token| K::list(client, limit, token, "")).await;
        for message in listed.map(|page| page.models).unwrap_or_default() {
            self.0
                .insert(K::id(&message).to_owned(), K::name(&message).to_owned());
        }
    }

    /// `connection -> destination` of a branch.
    pub(crate) fn branch(&self, connection_id: &str, destination_id: &str) -> String {
        format!("{} -> {}", self.of(connection_id), self.of(destination_id))
    }

    /// The name, or the id when there is none (deleted since, for example).
    pub(crate) fn of<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or(id, String::as_str)
    }
}
