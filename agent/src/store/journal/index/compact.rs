//! Ids and names as the index writes them: short, because they stand in every entry of it.
//!
//! Ids of requests, events and attempts are their 128 bits, which sort as their texts do. What is
//! configured (teams, sources, connections, destinations) has a number in the table `name`. Refuses
//! to judge: a text that is no id of ours is kept as it is, and comes back as it was.

use std::collections::HashMap;

use hookplane_proto::id::{Id, Kind};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row};

/// One more than the bits: behind the id, before the next one.
const BEHIND: usize = 17;

/// An id on its way into the index.
pub(in super::super) enum Packed<'a> {
    Bits([u8; 16]),
    /// The text ends with a NUL: what is behind the id in the order of texts.
    Behind([u8; BEHIND]),
    Text(&'a str),
}

/// As the index keeps it.
pub(in super::super) fn pack(kind: Kind, text: &str) -> Packed<'_> {
    if let Ok(id) = Id::parse(kind, text) {
        return Packed::Bits(id.bits().to_be_bytes());
    }
    let before = text.strip_suffix('\0');
    match before.and_then(|before| Id::parse(kind, before).ok()) {
        Some(id) => {
            let mut bytes = [0; BEHIND];
            bytes[..16].copy_from_slice(&id.bits().to_be_bytes());
            Packed::Behind(bytes)
        }
        None => Packed::Text(text),
    }
}

impl ToSql for Packed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Bits(bits) => ValueRef::Blob(bits),
            Self::Behind(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Packed<'_> {
    /// For statements whose parameters are collected first.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Bits(bits) => Value::Blob(bits.to_vec()),
            Self::Behind(bytes) => Value::Blob(bytes.to_vec()),
            Self::Text(text) => Value::Text((*text).to_owned()),
        }
    }
}

/// An id as it was before it was packed.
pub(super) fn unpack(row: &Row<'_>, column: usize, kind: Kind) -> rusqlite::Result<String> {
    let kept: Kept = row.get(column)?;
    Ok(kept.text(kind))
}

pub(super) fn maybe_unpack(
    row: &Row<'_>,
    column: usize,
    kind: Kind,
) -> rusqlite::Result<Option<String>> {
    let kept: Option<Kept> = row.get(column)?;
    Ok(kept.map(|kept| kept.text(kind)))
}

enum Kept {
    Bits(u128),
    Text(String),
}

impl Kept {
    fn text(self, kind: Kind) -> String {
        match self {
            Self::Bits(bits) => Id::from_bits(kind, bits).to_string(),
            Self::Text(text) => text,
        }
    }
}

impl FromSql for Kept {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => {
                let bits = bytes.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Self::Bits(u128::from_be_bytes(bits)))
            }
            other => other.as_str().map(|text| Self::Text(text.to_owned())),
        }
    }
}

/// Numbers of names, made where they are missing. Lives as long as a transaction, so that what it
/// remembers is what the transaction leaves.
#[derive(Default)]
pub(super) struct Names(HashMap<String, i64>);

impl Names {
    pub(super) fn of(&mut self, db: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.0.get(name) {
            return Ok(*number);
        }
        let known = number(db, name)?;
        let number = match known {
            Some(number) => number,
            None => {
                db.prepare_cached("INSERT INTO name (text) VALUES (?1)")?
                    .execute([name])?;
                db.last_insert_rowid()
            }
        };
        self.0.insert(name.to_owned(), number);
        Ok(number)
    }
}

/// The number of a name that the index has heard of.
pub(super) fn number(db: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT number FROM name WHERE text = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_sort_as_their_texts_do() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (id BLOB PRIMARY KEY) WITHOUT ROWID")
            .unwrap();
        let mut texts: Vec<String> = [(5, 1, 9), (5, 1, 10), (5, 2, 0), (1 << 40, 0, 1 << 50)]
            .map(|(millis, store, random)| Id::new(Kind::Event, millis, store, random).to_string())
            .into();
        texts.push("an id of somebody else".to_owned());
        for text in &texts {
            db.execute("INSERT INTO t VALUES (?1)", [pack(Kind::Event, text)])
                .unwrap();
        }
        texts.sort_unstable();
        let read = |from: &str| -> Vec<String> {
            let mut find = db
                .prepare("SELECT id FROM t WHERE id >= ?1 ORDER BY id")
                .unwrap();
            let found =
                find.query_map([pack(Kind::Event, from)], |row| unpack(row, 0, Kind::Event));
            found.unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(read(""), texts);
        assert_eq!(read(&texts[2]), texts[2..]);
        let behind = format!("{}\0", texts[2]);
        assert_eq!(read(&behind), texts[3..]);
    }

    #[test]
    fn a_name_keeps_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let (db, _) = super::super::open(&dir.path().join("index.db")).unwrap();
        let first = Names::default().of(&db, "web_1").unwrap();
        let mut names = Names::default();
        let second = names.of(&db, "web_2").unwrap();
        assert_ne!(first, second);
        assert_eq!(names.of(&db, "web_1").unwrap(), first);
        assert_eq!(number(&db, "web_2").unwrap(), Some(second));
        assert_eq!(number(&db, "web_3").unwrap(), None);
    }
}
