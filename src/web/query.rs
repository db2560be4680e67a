//! Reading the query of a URL: every parameter is known, and there once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use url::form_urlencoded;

use super::problem::{Kind, Problem};
use crate::config::human::parse_duration;
use crate::domain::lifecycle::State;
use crate::ledger::index::{Cursor, Filter, MAX_PAGE};

/// The longest reason, in bytes: it stands in the record, in the event and in every list.
pub(super) const MAX_REASON: usize = 512;

/// How many commands a page has where it is not said.
pub const DEFAULT_LIMIT: usize = 100;

/// What a list can be filtered by, and what that means.
pub(super) const FILTERS: [(&str, &str); 12] = [
    ("provider", "The provider."),
    ("account", "The account."),
    ("type", "The provider's type."),
    ("operation", "The operation."),
    ("reference", "The publisher's reference."),
    ("state", "The state: `pending`, `processing`, `waiting`, `completed` or `failed`."),
    ("kind", "Why it failed, such as `declined` or `unavailable`."),
    ("code", "The provider's code, or ferryd's own word."),
    ("older_than", "Last changed before this time (RFC 3339), or longer ago than this (`36h`)."),
    ("newer_than", "Last changed at this time (RFC 3339) or later, or no longer ago than this (`36h`)."),
    ("limit", "How many commands a page has, 1 to 1000. Default 100."),
    ("cursor", "Where the page begins: the `next` of the page before."),
];

/// What a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub filter: Filter,
    pub after: Option<Cursor>,
    pub limit: usize,
}

/// Parameters that were not looked at yet.
pub(super) struct Query(BTreeMap<String, String>);

fn refuse(name: &str, why: impl Display) -> Problem {
    Problem::new(Kind::InvalidRequest, format!("the parameter `{name}` {why}"))
}

impl Query {
    /// Reads a query.
    pub fn read(text: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(refuse(&name, "is there twice; write it once"));
            }
        }
        Ok(Self(parameters))
    }

    /// Takes the reason for what is asked for.
    pub fn reason(&mut self) -> Result<Option<String>, Problem> {
        let reason = self.text("reason").filter(|reason| !reason.is_empty());
        if reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON) {
            return Err(refuse("reason", format_args!("is longer than {MAX_REASON} bytes")));
        }
        Ok(reason)
    }

    /// Takes a parameter as it is.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: String| text.parse().map_err(|error| refuse(name, format_args!("can't be read: {error}")));
        self.text(name).map(read).transpose()
    }

    fn time(&mut self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let read = |text: String| {
            let ago = || parse_duration(&text).ok().and_then(|ago| now.checked_sub(ago).ok());
            text.parse().ok().or_else(ago).ok_or_else(|| {
                refuse(name, "is no time: write one as 2026-01-31T12:00:00Z, or how long ago it was, as 36h")
            })
        };
        self.text(name).map(read).transpose()
    }

    fn state(&mut self) -> Result<Option<State>, Problem> {
        let read = |text: String| {
            let known = State::ALL.into_iter().find(|state| state.as_str() == text);
            let words = || State::ALL.map(State::as_str).join(", ");
            known.ok_or_else(|| refuse("state", format_args!("is no state: write one of {}", words())))
        };
        self.text("state").map(read).transpose()
    }

    fn limit(&mut self) -> Result<usize, Problem> {
        let limit = self.text("limit").map_or(Ok(DEFAULT_LIMIT), |text| text.parse());
        let limit = limit.ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| refuse("limit", format_args!("is no number from 1 to {MAX_PAGE}")))
    }

    /// Takes a parameter that is `true` or `false`, and the latter where it is not there.
    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(refuse(name, "is neither `true` nor `false`")),
        }
    }

    /// What a list is filtered by.
    pub fn filter(&mut self, now: Timestamp) -> Result<Filter, Problem> {
        Ok(Filter {
            r#type: self.take("type")?,
            provider: self.take("provider")?,
            account: self.take("account")?,
            operation: self.take("operation")?,
            reference: self.text("reference"),
            state: self.state()?,
            kind: self.take("kind")?,
            code: self.text("code"),
            older_than: self.time("older_than", now)?,
            newer_than: self.time("newer_than", now)?,
            conflicts: self.flag("conflicts")?,
            ..Filter::default()
        })
    }

    /// Which page of a list.
    pub fn page(&mut self, now: Timestamp) -> Result<Asked, Problem> {
        Ok(Asked { filter: self.filter(now)?, after: self.take("cursor")?, limit: self.limit()? })
    }

    /// Refuses what was not asked for: a filter with a slip in its name would mean everything.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(refuse(&name, "is not known here; see /openapi.json")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked, Problem> {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let mut query = Query::read(Some(text))?;
        let dead = query.flag("dead")?;
        let mut asked = query.page(now)?;
        asked.filter.dead = dead;
        query.finish()?;
        Ok(asked)
    }

    #[test]
    fn every_filter_is_read() {
        let asked = read(
            "provider=stripe&account=default&type=payment&operation=charge&reference=order%201&state=failed&kind=declined\
             &code=card%2Fx&older_than=36h&newer_than=2026-01-31T12:00:00Z&dead=true&conflicts=true&limit=7",
        );
        let expected = Filter {
            r#type: Some("payment".parse().unwrap()),
            provider: Some("stripe".parse().unwrap()),
            account: Some("default".parse().unwrap()),
            operation: Some("charge".parse().unwrap()),
            reference: Some("order 1".to_owned()),
            state: Some(State::Failed),
            kind: Some(crate::domain::lifecycle::Kind::Declined),
            code: Some("card/x".to_owned()),
            older_than: Some("2026-11-24T00:00:00Z".parse().unwrap()),
            newer_than: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            dead: true,
            conflicts: true,
            ..Filter::default()
        };
        assert_eq!(asked.unwrap(), Asked { filter: expected, after: None, limit: 7 });
        assert_eq!(read("").unwrap(), Asked { filter: Filter::default(), after: None, limit: DEFAULT_LIMIT });
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        for (text, name) in [
            ("provider=Stripe", "provider"),
            ("state=done", "state"),
            ("kind=sad", "kind"),
            ("older_than=yesterday", "older_than"),
            ("dead=yes", "dead"),
            ("conflicts=yes", "conflicts"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("cursor=x", "cursor"),
            ("provder=stripe", "provder"),
            ("state=failed&state=completed", "state"),
        ] {
            let problem = read(text).unwrap_err();
            assert_eq!(problem.kind, Kind::InvalidRequest, "{text}");
            assert!(format!("{problem:?}").contains(&format!("`{name}`")), "{text}: {problem:?}");
        }
    }
}
