//! The publishers of an account: the AMQP users that may publish commands for it, and the command
//! ids that they may use.
//!
//! A command id is unique over all publishers, so an id that a publisher may not use is refused at
//! every account.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::command_id::CommandId;

/// One AMQP user that may publish commands for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPublisher {
    /// The user's name at the broker.
    pub user: String,
    /// The prefixes of the ids that the user may use; empty where any id is allowed.
    pub id_prefixes: Vec<String>,
}

impl AllowedPublisher {
    /// Returns true if the user's own entry allows an id.
    #[must_use]
    pub fn may_use(&self, id: &CommandId) -> bool {
        self.id_prefixes.is_empty()
            || self.id_prefixes.iter().any(|prefix| id.as_str().starts_with(prefix.as_str()))
    }
}

impl fmt::Display for AllowedPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        if self.id_prefixes.is_empty() {
            Ok(())
        } else {
            write!(f, " (ids {}…)", self.id_prefixes.join("…, "))
        }
    }
}

/// The AMQP users that may publish commands for an account, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherList(Vec<AllowedPublisher>);

impl PublisherList {
    /// Creates a list of users of which none is named twice.
    #[must_use]
    pub fn new(publishers: Vec<AllowedPublisher>) -> Self {
        Self(publishers)
    }

    /// Returns the entry of a user; `None` where the user may not publish.
    #[must_use]
    pub fn find(&self, user: &str) -> Option<&AllowedPublisher> {
        self.iter().find(|publisher| publisher.user == user)
    }

    /// Iterates over all entries.
    pub fn iter(&self) -> impl Iterator<Item = &AllowedPublisher> {
        self.0.iter()
    }
}

/// The prefixes of ids that are bound to users, over all accounts of all providers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoundPrefixes(BTreeMap<String, BTreeSet<String>>);

impl BoundPrefixes {
    /// Collects the prefixes of these lists.
    #[must_use]
    pub fn of<'a>(lists: impl IntoIterator<Item = &'a PublisherList>) -> Self {
        let mut bound: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for publisher in lists.into_iter().flat_map(PublisherList::iter) {
            for prefix in &publisher.id_prefixes {
                bound.entry(prefix.clone()).or_default().insert(publisher.user.clone());
            }
        }
        Self(bound)
    }

    /// Returns the longest bound prefix of an id, where it is bound to others than this user.
    #[must_use]
    pub fn bound_to_others(&self, id: &CommandId, user: Option<&str>) -> Option<&str> {
        let fitting = self.0.iter().filter(|(prefix, _)| id.as_str().starts_with(prefix.as_str()));
        let (prefix, users) = fitting.max_by_key(|(prefix, _)| prefix.len())?;
        let is_own = user.is_some_and(|user| users.contains(user));
        (!is_own).then_some(prefix.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(user: &str, id_prefixes: &[&str]) -> AllowedPublisher {
        let id_prefixes = id_prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        AllowedPublisher { user: user.to_owned(), id_prefixes }
    }

    #[test]
    fn an_id_belongs_to_the_users_of_the_longest_prefix_that_it_begins_with() {
        let payments = PublisherList::new(vec![
            publisher("shop", &["shop.", "order-"]),
            publisher("till", &["shop.till."]),
        ]);
        let parcels = PublisherList::new(vec![
            publisher("warehouse", &["wh-", "order-"]),
            publisher("desk", &[]),
        ]);
        let bound = BoundPrefixes::of([&payments, &parcels]);
        for (id, user, expected) in [
            ("shop.1", Some("shop"), None),
            ("shop.1", Some("warehouse"), Some("shop.")),
            ("shop.1", Some("desk"), Some("shop.")),
            ("shop.1", None, Some("shop.")),
            ("shop.till.1", Some("till"), None),
            ("shop.till.1", Some("shop"), Some("shop.till.")),
            ("shop.tile", Some("till"), Some("shop.")),
            ("order-1", Some("shop"), None),
            ("order-1", Some("warehouse"), None),
            ("order-1", Some("till"), Some("order-")),
            ("wh", Some("desk"), None),
            ("anything", None, None),
        ] {
            assert_eq!(
                bound.bound_to_others(&id.parse().unwrap(), user),
                expected,
                "{id} {user:?}"
            );
        }
    }

    #[test]
    fn a_user_with_prefixes_uses_no_other_ids() {
        for (prefixes, id, expected) in [
            (&[][..], "anything", true),
            (&["wh-"][..], "wh-1", true),
            (&["wh-", "stock."][..], "stock.1", true),
            (&["wh-"][..], "shop.wh-1", false),
            (&["wh-"][..], "WH-1", false),
        ] {
            assert_eq!(
                publisher("warehouse", prefixes).may_use(&id.parse().unwrap()),
                expected,
                "{prefixes:?} {id}"
            );
        }
    }
}
