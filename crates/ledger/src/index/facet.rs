//! The properties that filters select commands by, as far as many commands share them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::seeded_hash::SeededHash;
use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::dead_letter::shorten;
use ferryd_domain::ledger::command_state::{CommandEnding, CommandState};

/// One combination of properties that filters select commands by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CommandFacet<'a> {
    /// The type, the provider, the account and the operation.
    names: [Option<Cow<'a, str>>; 4],
    state: Cow<'a, str>,
    kind: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    http_status: Option<u16>,
    generation: u32,
    dead: bool,
    /// True if nothing but a request to cancel the command is known.
    cancel_requested: bool,
    conflicts: bool,
}

impl<'a> CommandFacet<'a> {
    /// Returns the facet that a command has now.
    pub fn of(command_state: &'a CommandState) -> Self {
        let identity =
            command_state.identity.as_ref().map(|command_identity| &*command_identity.command);
        let ending = command_state.ending.as_ref();
        let error = ending.and_then(|ending| ending.event.data.error.as_ref());
        Self {
            names: identity.map(names).unwrap_or_default(),
            state: command_state.state().as_str().into(),
            kind: ending.and_then(CommandEnding::kind).map(|kind| kind.as_str().into()),
            code: error.and_then(|error| error.code.as_deref()).map(|code| shorten(code).into()),
            http_status: error.and_then(|error| error.http_status),
            generation: command_state.step.generation,
            dead: ending.is_some_and(CommandEnding::is_dead),
            cancel_requested: command_state.is_cancel_request(),
            conflicts: !command_state.conflicts.is_empty(),
        }
    }

    fn into_owned(self) -> CommandFacet<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        CommandFacet {
            names: self.names.map(|name| name.map(owned)),
            state: owned(self.state),
            kind: self.kind.map(owned),
            code: self.code.map(owned),
            http_status: self.http_status,
            generation: self.generation,
            dead: self.dead,
            cancel_requested: self.cancel_requested,
            conflicts: self.conflicts,
        }
    }
}

fn names(identity: &EchoedIdentity) -> [Option<Cow<'_, str>>; 4] {
    let EchoedIdentity { r#type, provider, account, operation, .. } = identity;
    [r#type, provider, account, operation]
        .map(|name| name.as_ref().map(|name| name.as_str().into()))
}

type FacetMap<'a, T> = HashMap<CommandFacet<'a>, T, SeededHash>;

/// The maximum number of facets that packed states share: few are common.
const MAX_SHARED: usize = 1_024;

/// The facets that packed states share.
#[derive(Default)]
pub(super) struct SharedFacets(FacetMap<'static, Arc<CommandFacet<'static>>>);

impl SharedFacets {
    /// Returns a facet that equals this one.
    pub fn share(&mut self, facet: CommandFacet<'_>) -> Arc<CommandFacet<'static>> {
        let known: &FacetMap<'_, _> = &self.0;
        if let Some(shared) = known.get(&facet) {
            return Arc::clone(shared);
        }
        if self.0.len() >= MAX_SHARED {
            self.0.clear();
        }
        let facet = facet.into_owned();
        let shared = Arc::new(facet.clone());
        self.0.insert(facet, Arc::clone(&shared));
        shared
    }
}

/// The known facets, with their numbers.
#[derive(Default)]
pub(super) struct FacetTable {
    numbers: FacetMap<'static, i64>,
    /// The shared facet that was looked up last.
    latest: Option<(Arc<CommandFacet<'static>>, i64)>,
}

impl FacetTable {
    /// Reads all facets from the database.
    pub fn load(conn: &Connection) -> rusqlite::Result<Self> {
        const ALL: &str = "SELECT facet, type, provider, account, operation, state, kind, code, http_status, generation, dead, \
                           cancel_requested, conflicts FROM facets";
        let mut all = conn.prepare(ALL)?;
        let read = |row: &rusqlite::Row<'_>| {
            let text = |column| row.get(column).map(|text: Option<String>| text.map(Cow::Owned));
            let facet = CommandFacet {
                names: [text(1)?, text(2)?, text(3)?, text(4)?],
                state: row.get(5).map(Cow::<str>::Owned)?,
                kind: text(6)?,
                code: text(7)?,
                http_status: row.get(8)?,
                generation: row.get(9)?,
                dead: row.get(10)?,
                cancel_requested: row.get(11)?,
                conflicts: row.get(12)?,
            };
            Ok((facet, row.get(0)?))
        };
        let numbers = all.query_map((), read)?.collect::<Result<_, _>>()?;
        Ok(Self { numbers, latest: None })
    }

    /// Returns the number of a shared facet; a new facet is inserted.
    pub fn number_of_shared(
        &mut self,
        conn: &Connection,
        facet: &Arc<CommandFacet<'static>>,
    ) -> rusqlite::Result<i64> {
        if let Some((latest, number)) = &self.latest
            && Arc::ptr_eq(latest, facet)
        {
            return Ok(*number);
        }
        let number = self.number(conn, facet)?;
        self.latest = Some((Arc::clone(facet), number));
        Ok(number)
    }

    /// Returns the number of a facet; a new one is inserted.
    pub fn number(&mut self, conn: &Connection, facet: &CommandFacet<'_>) -> rusqlite::Result<i64> {
        const ADD: &str = "INSERT INTO facets (count, type, provider, account, operation, state, kind, code, http_status, \
                           generation, dead, cancel_requested, conflicts) \
                           VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let known: &FacetMap<'_, i64> = &self.numbers;
        if let Some(number) = known.get(facet) {
            return Ok(*number);
        }
        let [r#type, provider, account, operation] = &facet.names;
        let CommandFacet {
            state,
            kind,
            code,
            http_status,
            generation,
            dead,
            cancel_requested,
            conflicts,
            ..
        } = facet;
        conn.prepare_cached(ADD)?.execute(params![
            r#type,
            provider,
            account,
            operation,
            state,
            kind,
            code,
            http_status,
            generation,
            dead,
            cancel_requested,
            conflicts
        ])?;
        let number = conn.last_insert_rowid();
        self.numbers.insert(facet.clone().into_owned(), number);
        Ok(number)
    }
}
