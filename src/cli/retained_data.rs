//! The times for which ferryd and its broker keep data, for `ferryd check`.

use serde::Serialize;

use super::ledger_retention::content_retention;
use super::output::TextTable;
use crate::config::Config;
use ferryd_broker::topology::{CALLS_MAX_AGE, max_age};
use ferryd_provider::Provider;
use ferryd_settings::units::format_duration;

/// Data of one kind that is kept, and for how long.
#[derive(Debug, Serialize)]
pub(super) struct RetainedData {
    /// The name of the data.
    what: &'static str,
    /// The time for which the data is kept.
    time: String,
    /// The key, policy or person that sets the time.
    by: String,
}

/// Lists all data that ferryd keeps.
pub(super) fn kept_data(config: &Config, providers: &[&Provider]) -> Vec<RetainedData> {
    let kept = |what, time: String, by: String| RetainedData { what, time, by };
    let window = config.ledger.duplicate_window;
    let contents = content_retention(config, providers.iter().copied());
    let stream = format!("{} and a segment", max_age(window));
    let mut data = vec![
        kept(
            "ids and digests of ended commands",
            format_duration(window),
            "ledger.duplicate_window".to_owned(),
        ),
        kept(
            "results and texts of ended commands",
            format_duration(contents.time),
            contents.reason,
        ),
        kept(
            "records of commands, with both",
            stream,
            format!("the policy of stream {}.ledger", config.prefix),
        ),
    ];
    if config.log.calls {
        let policy = format!("the policy of stream {}.calls", config.prefix);
        data.push(kept("requests and answers", format!("{CALLS_MAX_AGE} and a segment"), policy));
    }
    let until = "until replayed, resolved or discarded".to_owned();
    data.push(kept("dead letters, with payloads", until, "an operator".to_owned()));
    let log = if config.log.calls { "the log, with requests and answers" } else { "the log" };
    data.push(kept(
        log,
        "outside ferryd".to_owned(),
        "whoever takes the standard error".to_owned(),
    ));
    data
}

/// Formats the data as a table.
pub(super) fn retention_table(data: &[RetainedData]) -> TextTable {
    let mut table = TextTable::new(["KEPT", "FOR", "BY"]);
    for RetainedData { what, time, by } in data {
        table.row([*what, time.as_str(), by.as_str()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    #[test]
    fn retained_data_is_listed_with_the_command_that_shows_it() {
        let (config, payments) = (Config::default(), fixture::payments());
        let data = kept_data(&config, &[&payments]);
        insta::assert_snapshot!(fixture::printed(|out| out
            .table(&retention_table(&data))
            .unwrap()));
    }
}
