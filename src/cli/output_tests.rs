use anstyle::AnsiColor;
use serde_json::json;

use super::*;
use crate::captured_text::CapturedText;
use crate::cli::fixture::printed;
use ferryd_domain::encoded_value::EncodedValue;

/// A text of a hostile provider: it sets the title, clears the screen, forges a line of ferryd's,
/// and hides characters.
const HOSTILE: &str =
    "x\u{1b}]0;title\u{7}\u{1b}[2J\r\nferryd: all is well\u{202e}\u{200b}\u{9b}\u{2028}\u{e0041}";
const SHOWN: &str = "x\\u{1b}]0;title\\u{7}\\u{1b}[2J\\r\\nferryd: all is well\\u{202e}\\u{200b}\\u{9b}\\u{2028}\\u{e0041}";

#[test]
fn columns_are_aligned_and_lines_do_not_end_in_spaces() {
    let mut table = TextTable::new(["NAME", "TYPE", "NOTE"]);
    table.row(["stripe", "payment", ""]);
    table.row(["träge", "x", "a longer note"]);
    let text = anstream::adapter::strip_str(&table.render()).to_string();
    assert_eq!(text, "NAME    TYPE     NOTE\nstripe  payment\nträge   x        a longer note\n");
}

#[test]
fn every_kind_of_print_writes_out_what_a_terminal_would_obey() {
    type PrintText = fn(&mut TerminalOutput) -> io::Result<()>;
    let prints: [(&str, PrintText, &str); 6] = [
        ("line", |out| out.line(HOSTILE), "[…]\n"),
        ("heading", |out| out.heading(HOSTILE), "[…]\n"),
        (
            "styled",
            |out| {
                out.styled(
                    &StyledLine::default().with_text(HOSTILE).with_styled_text(HEADING, HOSTILE),
                )
            },
            "[…][…]\n",
        ),
        (
            "column",
            |out| out.styled(&StyledLine::default().with_column(HOSTILE, 3).with_text("y")),
            "[…]  y\n",
        ),
        ("status", |out| out.status(HOSTILE), "\r[…] "),
        (
            "table",
            |out| {
                let mut table = TextTable::new(["A"]);
                table.row([HOSTILE]);
                out.table(&table)
            },
            "A\n[…]\n",
        ),
    ];
    for (name, print, expected) in prints {
        let text = printed(|out| print(out).unwrap());
        assert_eq!(text, expected.replace("[…]", SHOWN), "{name}");
    }
    let text = printed(|out| out.lines("a\nb\u{1b}[2J\rc\r\nd").unwrap());
    assert_eq!(text, "a\nb\\u{1b}[2J\\rc\nd\n");
}

#[test]
fn json_is_escaped_and_means_what_was_meant() {
    let value = json!({ HOSTILE: [HOSTILE] });
    for (text, lines) in [
        (printed(|out| out.json(&value).unwrap()), 5),
        (printed(|out| out.json_line(&value).unwrap()), 1),
    ] {
        assert!(!text.contains(|c| is_escaped(c) && c != '\n'), "{text}");
        assert_eq!(text.lines().count(), lines, "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}

#[test]
fn encoded_parts_of_a_value_are_laid_out_like_the_others() {
    let value = json!({ "a": [1, { "b": HOSTILE }] });
    let (whole, parts) = (vec![value.clone()], vec![EncodedValue::from(value)]);
    assert_eq!(printed(|out| out.json(&parts).unwrap()), printed(|out| out.json(&whole).unwrap()));
}

#[test]
fn styles_are_put_in_here_and_reach_a_terminal_alone() {
    let terminal = CapturedText::default();
    let mut out = TerminalOutput(Box::new(anstream::AutoStream::always(
        Box::new(terminal.clone()) as Box<dyn Write + Send>,
    )));
    let line = StyledLine::default().with_styled_column(AnsiColor::Red.on_default(), HOSTILE, 4);
    out.styled(&line).unwrap();
    let text = terminal.text();
    assert_eq!(text, format!("\u{1b}[31m{SHOWN}\u{1b}[0m\n"));
    assert_eq!(printed(|out| out.styled(&line).unwrap()), format!("{SHOWN}\n"));
}

#[test]
fn a_file_is_printed_as_it_is_or_not_at_all() {
    for plain in ["", "a\r\nb\r\n\r\n{\"a\":\t1}", "complete -F _ferryd\n", "žluťoučký"] {
        assert_eq!(printed(|out| out.verbatim(PlainText::new(plain).unwrap()).unwrap()), plain);
    }
    for other in ["\u{1b}[2J", "a\rb", "a\r", "\r\r\n", "a\u{202e}b\n", "\u{9b}", "a\u{2028}", "\0"]
    {
        assert_eq!(PlainText::new(other), None, "{other:?}");
    }
}
