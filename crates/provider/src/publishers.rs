//! The key `publishers` of a provider file or an account file: the AMQP users that may publish
//! commands for an account.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use ferryd_domain::command_id::PublishedCommandId;
use ferryd_domain::publisher::{AllowedPublisher, PublisherList};
use ferryd_settings::findings::SettingsCursor;

/// The most bytes of a user's name: the limit of the AMQP property `user_id`.
const LONGEST_USER: usize = 255;

/// One entry of `publishers`: the name of a user, or a table that binds the user to ids.
#[derive(Debug, Clone)]
pub(super) struct PublisherFile(PublisherTable);

/// An AMQP user that may publish commands for the account, under ids with certain prefixes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PublisherTable {
    /// The user's name at the broker.
    user: String,
    /// The prefixes of the ids that the user may use here; no other user may use such ids, at any
    /// account. Absent: any id that is not bound to other users.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    ids: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for PublisherFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = PublisherFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an AMQP user, or a table with `user` and `ids`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PublisherFile(PublisherTable { user: text.to_owned(), ids: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        PublisherTable::deserialize(MapAccessDeserializer::new(map)).map(PublisherFile)
    }
}

impl JsonSchema for PublisherFile {
    fn schema_name() -> Cow<'static, str> {
        "Publisher".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An AMQP user that may publish commands for the account.",
            "oneOf": [
                { "description": "The user's name at the broker.", "type": "string" },
                generator.subschema_for::<PublisherTable>(),
            ]
        })
    }
}

/// Makes the list of an account's publishers. Faults are reported at `place`.
pub(super) fn compile_publishers(
    files: &[PublisherFile],
    place: &SettingsCursor<'_>,
) -> PublisherList {
    if files.is_empty() {
        place.refuse("is empty, so nobody could publish; name a user, or leave it out to let every user publish");
    }
    let mut users = HashSet::new();
    for (index, PublisherFile(table)) in files.iter().enumerate() {
        let place = place.item(index);
        if !(1..=LONGEST_USER).contains(&table.user.len()) {
            place.refuse(format!("is no name of an AMQP user; write 1 to {LONGEST_USER} bytes"));
        } else if !users.insert(&table.user) {
            place.refuse(format!(
                "`{}` is there twice; write all of its `ids` in one entry",
                table.user
            ));
        }
        check_prefixes(table.ids.as_deref(), &place.key("ids"));
    }
    PublisherList::new(files.iter().map(|PublisherFile(table)| table.compile()).collect())
}

fn check_prefixes(prefixes: Option<&[String]>, place: &SettingsCursor<'_>) {
    if prefixes.is_some_and(<[_]>::is_empty) {
        place.refuse(
            "is empty, so the user could use no id; write how its ids begin, or leave `ids` out",
        );
    }
    for (index, prefix) in prefixes.into_iter().flatten().enumerate() {
        // Every prefix of an id is itself a valid id.
        if prefix.parse::<PublishedCommandId>().is_err() {
            place
                .item(index)
                .refuse("no id begins so; write 1 to 128 of A-Z, a-z, 0-9, `.`, `_`, `:` or `-`");
        }
    }
}

impl PublisherTable {
    fn compile(&self) -> AllowedPublisher {
        AllowedPublisher {
            user: self.user.clone(),
            id_prefixes: self.ids.clone().unwrap_or_default(),
        }
    }
}
