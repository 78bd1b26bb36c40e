//! Pages of configuration lists: a stable order and a token that says where to go on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::sea_query::{Alias, Expr};
use sea_orm::{
    Condition, EntityTrait, ExprTrait as _, Order, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select, Value,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::can_be_stored;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 255;
const MAX_TOKEN: usize = 1_024;

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderBy {
    #[default]
    CreatedAt,
    UpdatedAt,
    Name,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub order_by: OrderBy,
    pub ascending: bool,
    /// 1 to 255.
    pub limit: u32,
    after: Option<Token>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub order_by: OrderBy,
    pub ascending: bool,
    pub limit: u32,
    /// Token of the next page; `None` on the last one.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    order_by: OrderBy,
    ascending: bool,
    value: Key,
    id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    Time(i64),
    Name(String),
}

/// Why a page cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPage {
    #[error("`{0}` is none of created_at, updated_at and name")]
    OrderBy(String),
    #[error("`{0}` is neither asc nor desc")]
    Dir(String),
    #[error("{0} rows; 1 to {MAX_LIMIT} are possible")]
    Limit(u32),
    #[error("the token is not one that this list gave; start again without it")]
    Token,
}

impl InvalidPage {
    /// The parameter at fault.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::OrderBy(_) => "order_by",
            Self::Dir(_) => "dir",
            Self::Limit(_) => "limit",
            Self::Token => "page_token",
        }
    }
}

impl OrderBy {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Name => "name",
        }
    }
}

impl PageRequest {
    /// Reads what a caller asked for; empty texts and 0 stand for the defaults.
    ///
    /// # Errors
    /// [`InvalidPage`] names the parameter.
    pub fn parse(order_by: &str, dir: &str, limit: u32, token: &str) -> Result<Self, InvalidPage> {
        let shown = |text: &str| text.chars().take(32).collect::<String>();
        let order_by = match order_by {
            "" | "created_at" => OrderBy::CreatedAt,
            "updated_at" => OrderBy::UpdatedAt,
            "name" => OrderBy::Name,
            other => return Err(InvalidPage::OrderBy(shown(other))),
        };
        let ascending = match dir {
            "asc" => true,
            // Names are read from the front, times from the newest.
            "" => order_by == OrderBy::Name,
            "desc" => false,
            other => return Err(InvalidPage::Dir(shown(other))),
        };
        let limit = match limit {
            0 => DEFAULT_LIMIT,
            1..=MAX_LIMIT => limit,
            other => return Err(InvalidPage::Limit(other)),
        };
        let after = (!token.is_empty())
            .then(|| Token::read(token))
            .transpose()?;
        if after
            .as_ref()
            .is_some_and(|token| !token.continues(order_by, ascending))
        {
            return Err(InvalidPage::Token);
        }
        Ok(Self {
            order_by,
            ascending,
            limit,
            after,
        })
    }

    /// Orders and cuts a query, one row more than asked for to see whether there are more.
    pub(super) fn cut<E: EntityTrait>(&self, select: Select<E>) -> Select<E> {
        let column = Alias::new(self.order_by.as_str());
        let table = Alias::new(E::default().table_name());
        let field = || Expr::col((table.clone(), column.clone()));
        let id = || Expr::col((table.clone(), Alias::new("id")));
        let order = if self.ascending {
            Order::Asc
        } else {
            Order::Desc
        };
        let mut select = select
            .order_by(field(), order.clone())
            .order_by(id(), order)
            .limit(u64::from(self.limit) + 1);
        if let Some(token) = &self.after {
            let value: Value = match &token.value {
                Key::Time(time) => (*time).into(),
                Key::Name(name) => name.clone().into(),
            };
            let (beyond, same) = if self.ascending {
                (field().gt(value.clone()), id().gt(token.id.clone()))
            } else {
                (field().lt(value.clone()), id().lt(token.id.clone()))
            };
            let tied = Condition::all().add(field().eq(value)).add(same);
            select = select.filter(Condition::any().add(beyond).add(tied));
        }
        select
    }

    /// Makes the page from the rows that [`Self::cut`] gave. `place` tells name, times and id of one.
    pub(super) fn page<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> Place<'_>) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| {
            let place = place(last);
            let value = match self.order_by {
                OrderBy::CreatedAt => Key::Time(place.created_at),
                OrderBy::UpdatedAt => Key::Time(place.updated_at),
                OrderBy::Name => Key::Name(place.name.to_owned()),
            };
            let token = Token {
                order_by: self.order_by,
                ascending: self.ascending,
                value,
                id: place.id.to_owned(),
            };
            token.write()
        });
        Page {
            rows,
            order_by: self.order_by,
            ascending: self.ascending,
            limit: self.limit,
            next,
        }
    }
}

/// Where a row stands in every order.
pub(super) struct Place<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

impl Token {
    /// Whether it can be of a list in this order: callers may have made it up.
    fn continues(&self, order_by: OrderBy, ascending: bool) -> bool {
        let of_the_order = match (&self.value, order_by) {
            (Key::Time(_), OrderBy::CreatedAt | OrderBy::UpdatedAt) => true,
            (Key::Name(name), OrderBy::Name) => can_be_stored(name),
            (Key::Time(_), OrderBy::Name) | (Key::Name(_), _) => false,
        };
        of_the_order
            && self.order_by == order_by
            && self.ascending == ascending
            && can_be_stored(&self.id)
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, InvalidPage> {
        if text.len() > MAX_TOKEN {
            return Err(InvalidPage::Token);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| InvalidPage::Token)?;
        serde_json::from_slice(&bytes).map_err(|_| InvalidPage::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(
        order_by: &str,
        value: serde_json::Value,
        id: &str,
    ) -> Result<PageRequest, InvalidPage> {
        let token = json!({"order_by": order_by, "ascending": true, "value": value, "id": id});
        let token = URL_SAFE_NO_PAD.encode(token.to_string());
        PageRequest::parse(order_by, "asc", 0, &token)
    }

    #[test]
    fn a_token_whose_place_is_not_of_its_order_is_refused() {
        assert!(asked("name", json!("a"), "src_1").is_ok());
        assert!(asked("created_at", json!(5), "src_1").is_ok());
        for (order_by, value, id) in [
            ("name", json!(5), "src_1"),
            ("created_at", json!("a"), "src_1"),
            ("updated_at", json!("5"), "src_1"),
            ("name", json!("a\u{0}"), "src_1"),
            ("name", json!("a"), "src_\u{0}"),
        ] {
            let refused = asked(order_by, value.clone(), id);
            assert_eq!(
                refused,
                Err(InvalidPage::Token),
                "{order_by} {value} {id:?}"
            );
        }
    }
}
