use super::*;
use crate::captured_text::CapturedText;
use crate::config::LogFilter;
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::outcome::Failure;
use ferryd_redact::Mask;
use ferryd_transport::call_log::{HttpCall, StepLabel};
use ferryd_transport::encoded_call::EncodedCall;

fn logged(log: &LogConfig, style: LogStyle, events: impl FnOnce()) -> String {
    let buffer = CapturedText::default();
    let writer = buffer.clone();
    let subscriber = subscriber(log, style, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, events);
    buffer.text()
}

fn filtered(filter: &str) -> LogConfig {
    LogConfig { filter: LogFilter::try_from(filter.to_owned()).unwrap(), ..LogConfig::default() }
}

#[test]
fn a_json_line_is_one_flat_object_with_the_time_in_utc() {
    let text = logged(&LogConfig::default(), LogStyle::Json, || {
        let _span = tracing::info_span!("command", command.id = "order-1").entered();
        tracing::info!(target: "ferryd::test", duration_ms = 7, "two\nlines");
    });
    assert_eq!(text.lines().count(), 1);
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "two\nlines");
    assert_eq!(line["duration_ms"], 7);
    assert_eq!(line["target"], "ferryd::test");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["span"]["command.id"], "order-1");
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
}

#[test]
fn a_json_line_is_what_the_subscriber_of_tracing_writes_but_for_escapes() {
    let event = || {
        tracing::info!(float = 0.5, none = f64::NAN, yes = true, signed = -7, unsigned = 7, "said");
        tracing::warn!(debug = ?["a\"\\\n"], absent = None::<u64>, raw.r#type = "b\u{1}/é", empty = "");
        let _outer = tracing::info_span!("outer", a = 1).entered();
        let _span = tracing::info_span!("command", command.id = "{order}", by = %"x\ty").entered();
        tracing::error!(target: "ferryd::test", "in a span");
        tracing::error!(parent: None, "with fields and no span");
        let _empty = tracing::info_span!("empty").entered();
        tracing::info!("in a span without fields");
    };
    let buffer = CapturedText::default();
    let writer = buffer.clone();
    let layer = fmt::layer().json().flatten_event(true).with_span_list(false);
    let registry = Registry::default().with(filter(&LogConfig::default()).unwrap());
    let reference = registry.with(layer.with_writer(move || writer.clone()));
    tracing::subscriber::with_default(reference, event);
    let without_time = |text: &str| {
        let rest = |line: &str| line.split_once(",\"level\"").unwrap().1.to_owned();
        text.lines().map(rest).collect::<Vec<_>>()
    };
    let own = logged(&LogConfig::default(), LogStyle::Json, event);
    assert_eq!(without_time(&own), without_time(&buffer.text()));
    assert_eq!(own.lines().count(), 5);
}

#[test]
fn the_line_of_an_encoded_call_is_the_line_of_its_event() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = HttpRequest {
        method: HttpMethod::Post,
        url: "https://api.example/v1/charges?a=1".parse().unwrap(),
        headers: vec![header("authorization", "Bearer x"), header("x-note", "a \"b\"")],
        input_headers: Vec::new(),
        body: r#"{"pin":"12","note":"é\u{1}"}"#.into(),
        timeout: Duration::from_secs(1),
    };
    let (headers, body) = (vec![header("x-id", "7")], r#"{"id":"ch_1"}"#.into());
    let late = Failure { http_status: Some(200), ..Failure::new("truncated", "it ended") };
    let (command, provider, operation) =
        ("order-1".parse().unwrap(), "stripe".parse().unwrap(), "charge".parse().unwrap());
    let step = StepLabel {
        at: Timestamp::UNIX_EPOCH,
        command: &command,
        provider: &provider,
        operation: &operation,
        generation: 1,
        attempt: 2,
    };
    let answers = [
        CallResult::Reply(HttpReply { status: 201, headers, body }),
        CallResult::Incomplete(late),
        CallResult::NotSent(Failure::new("dns", "no such host")),
    ];
    for (answer, cap) in answers.iter().flat_map(|answer| [(answer, 4096), (answer, 20)]) {
        let mask = Mask::new(&[], &["pin".to_owned()]).capped_at(cap);
        let call = HttpCall::new(&step, &request, answer, Duration::ZERO, &mask, true);
        let event = logged(&LogConfig::default(), LogStyle::Json, || call.log(&mask));
        let encoded = EncodedCall::new(&call);
        let line = json_line(Level::INFO, CALL_TARGET, |line| encoded.push_log_fields(line, cap));
        let without_time = |line: &str| line.split_once(",\"level\"").unwrap().1.to_owned();
        assert_eq!(without_time(&line), without_time(&event));
    }
}

#[test]
fn colours_are_for_people_on_a_terminal_who_want_them() {
    use LogFormat::{Auto, Human, Json};
    let (plain, colour) = (LogStyle::Human { colour: false }, LogStyle::Human { colour: true });
    let table = [
        // format, terminal, NO_COLOR, expected
        (Auto, true, false, colour),
        (Auto, true, true, plain),
        (Auto, false, false, LogStyle::Json),
        (Human, true, false, colour),
        (Human, false, false, plain),
        (Human, true, true, plain),
        (Json, true, false, LogStyle::Json),
    ];
    for (format, terminal, no_color, expected) in table {
        assert_eq!(style(format, terminal, no_color), expected, "{format:?} {terminal} {no_color}");
    }
    let line = |style| logged(&LogConfig::default(), style, || tracing::warn!("careful"));
    assert!(line(colour).contains('\u{1b}'));
    assert!(!line(plain).contains('\u{1b}') && line(plain).contains("careful"));
}

#[test]
fn no_line_holds_what_a_terminal_obeys_or_does_not_show() {
    let hostile = "x\u{1b}]0;t\u{7}\u{1b}[2J\r\n2026-01-01T00:00:00Z  INFO forged\u{202e}\u{200b}\u{9b}\u{2028}\u{e0041}";
    let event = || {
        let _span = tracing::info_span!("command", by = %hostile, id = hostile).entered();
        tracing::info!(error = %hostile, code = hostile, debug = ?hostile, "{hostile}");
    };
    for style in
        [LogStyle::Human { colour: false }, LogStyle::Human { colour: true }, LogStyle::Json]
    {
        let text = logged(&LogConfig::default(), style, event);
        assert_eq!(text.lines().count(), 1, "{text}");
        let own = if style == (LogStyle::Human { colour: true }) {
            anstream::adapter::strip_str(&text).to_string()
        } else {
            text
        };
        assert_eq!(own.matches("[2J").count(), 6, "{own}");
        assert!(!own.trim_end_matches('\n').contains(ferryd_redact::escape::is_escaped), "{own}");
        if style == LogStyle::Json {
            let line: serde_json::Value = serde_json::from_str(&own).unwrap();
            for pointer in ["/message", "/error", "/code", "/span/id"] {
                assert_eq!(line.pointer(pointer).unwrap(), hostile, "{pointer}");
            }
        }
    }
}

#[test]
fn a_line_for_people_is_its_message_and_its_fields() {
    let event =
        || tracing::info!(target: "ferryd::test", status = 7, error = %"a\nb", text = "c", "said");
    let text = logged(&LogConfig::default(), LogStyle::Human { colour: false }, event);
    assert!(text.ends_with(" INFO ferryd::test: said status=7 error=a\\nb text=\"c\"\n"), "{text}");
    let coloured = logged(&LogConfig::default(), LogStyle::Human { colour: true }, event);
    let plain = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(plain.split_once(' ').unwrap().1, text.split_once(' ').unwrap().1);
    assert!(coloured.contains("\u{1b}[3mstatus\u{1b}[0m\u{1b}[2m=\u{1b}[0m7"), "{coloured:?}");
}

#[test]
fn the_filter_chooses_levels_by_target() {
    let text = logged(&filtered("warn,ferryd_broker=debug"), LogStyle::Json, || {
        tracing::info!(target: "ferryd::pipeline", "left out");
        tracing::debug!(target: "ferryd_broker", "kept");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("kept"), "{text}");
}

#[test]
fn calls_are_logged_unless_switched_off() {
    let event = || {
        tracing::info!(target: CALL_TARGET, "call");
        tracing::info!("other");
    };
    for (calls, lines) in [(true, 2), (false, 1)] {
        for filter in ["info", "info,ferryd::call=trace"] {
            let text = logged(&LogConfig { calls, ..filtered(filter) }, LogStyle::Json, event);
            assert_eq!(text.lines().count(), lines, "{filter} {calls}: {text}");
        }
    }
}

#[test]
fn the_line_about_dropped_lines_has_the_form_of_the_others() {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let json: serde_json::Value = serde_json::from_slice(&notice(LogStyle::Json, 7, now)).unwrap();
    let text =
        logged(&LogConfig::default(), LogStyle::Json, || tracing::warn!(dropped = 7, "careful"));
    let other: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names =
        |line: &serde_json::Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&json), names(&other));
    assert_eq!((&json["dropped"], &json["level"]), (&7.into(), &"WARN".into()));
    let human = String::from_utf8(notice(LogStyle::Human { colour: true }, 7, now)).unwrap();
    assert_eq!(
        human,
        "1970-01-01T00:00:00Z  WARN ferryd::telemetry: dropped log lines that nobody read in time dropped=7\n"
    );
}
