//! The text of a file as a tree of values, with the line of each key.

use std::collections::HashMap;

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::key_path::KeyPath;

/// The deepest nesting of tables and lists. Dotted keys nest as well, deeper than the TOML parser
/// itself limits.
const DEEPEST: usize = 64;

/// A parsed file.
#[derive(Debug, Clone)]
pub struct SettingsSource {
    name: String,
    lines: HashMap<KeyPath, usize>,
    value: Json,
}

impl SettingsSource {
    /// Reads TOML.
    ///
    /// # Errors
    /// Every place where the text is not valid TOML, or holds a value that JSON cannot represent.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let at = LineNumbers::of(text);
        let mut faults: Vec<Diagnostic> = errors
            .iter()
            .map(|error| {
                let line = error.span().map(|span| at.line(span.start));
                Diagnostic::of_file(
                    name,
                    line,
                    format!("not TOML: {}", error.message().replace('\n', ", ")),
                )
            })
            .collect();
        let mut reader = TomlReader { name, at, lines: HashMap::new(), faults: Vec::new() };
        let value = reader.table(table.get_ref(), &KeyPath::default());
        if faults.is_empty() {
            faults = reader.faults;
        }
        if faults.is_empty() {
            Ok(Self { name: name.to_owned(), lines: reader.lines, value })
        } else {
            Err(faults)
        }
    }

    /// The file's name, as errors show it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole file.
    #[must_use]
    pub fn value(&self) -> &Json {
        &self.value
    }

    /// The line of a key, from 1.
    #[must_use]
    pub fn line(&self, key: &KeyPath) -> Option<usize> {
        self.lines.get(key).copied()
    }
}

/// The byte offsets at which the lines of a text begin.
struct LineNumbers(Vec<usize>);

impl LineNumbers {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|&end| end < offset)
    }
}

struct TomlReader<'a> {
    name: &'a str,
    at: LineNumbers,
    lines: HashMap<KeyPath, usize>,
    faults: Vec<Diagnostic>,
}

impl TomlReader<'_> {
    fn table(&mut self, table: &DeTable<'_>, place: &KeyPath) -> Json {
        let mut map = Map::new();
        for (key, value) in table {
            let inner = place.key(key.get_ref());
            self.lines.insert(inner.clone(), self.at.line(key.span().start));
            map.insert(key.get_ref().to_string(), self.value(value, &inner));
        }
        Json::Object(map)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, place: &KeyPath) -> Json {
        if place.depth() > DEEPEST {
            let line = self.at.line(value.span().start);
            let message =
                format!("{place}: stands in more than {DEEPEST} tables and lists; take some out");
            self.faults.push(Diagnostic::of_file(self.name, Some(line), message));
            return Json::Null;
        }
        match value.get_ref() {
            DeValue::String(text) => Json::String(text.to_string()),
            DeValue::Boolean(truth) => Json::Bool(*truth),
            DeValue::Datetime(time) => Json::String(time.to_string()),
            DeValue::Table(table) => self.table(table, place),
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for (n, item) in items.iter().enumerate() {
                    let inner = place.item(n);
                    self.lines.insert(inner.clone(), self.at.line(item.span().start));
                    list.push(self.value(item, &inner));
                }
                Json::Array(list)
            }
            DeValue::Integer(integer) => {
                let number =
                    i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Json::from);
                self.number(number, "an integer of more than 64 bits", value, place)
            }
            DeValue::Float(float) => {
                let number =
                    float.as_str().parse().ok().and_then(Number::from_f64).map(Json::Number);
                self.number(number, "a number that JSON does not have", value, place)
            }
        }
    }

    fn number(
        &mut self,
        number: Option<Json>,
        what: &str,
        value: &Spanned<DeValue<'_>>,
        place: &KeyPath,
    ) -> Json {
        number.unwrap_or_else(|| {
            let line = self.at.line(value.span().start);
            self.faults.push(Diagnostic::of_file(
                self.name,
                Some(line),
                format!("{place}: {what}; write it as text"),
            ));
            Json::Null
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_key_knows_its_line_and_every_value_its_type() {
        let text = "a = 1\n[b.c]\nd = 20.2\n\"e.f\" = { g = true }\n[[h]]\ni = 9007199254740993\n[[h]]\ni = -1\n";
        let source = SettingsSource::parse("x.toml", text).unwrap();
        let expected = json!({"a": 1, "b": {"c": {"d": 20.2, "e.f": {"g": true}}},
            "h": [{"i": 9_007_199_254_740_993_i64}, {"i": -1}]});
        assert_eq!(*source.value(), expected);
        let b = KeyPath::default().key("b").key("c");
        let h = KeyPath::default().key("h");
        let table = [
            (KeyPath::default().key("a"), Some(1)),
            (b.clone(), Some(2)),
            (b.key("d"), Some(3)),
            (b.key("e.f").key("g"), Some(4)),
            (h.item(0).key("i"), Some(6)),
            (h.item(1).key("i"), Some(8)),
            (b.key("missing"), None),
        ];
        for (key, line) in table {
            assert_eq!(source.line(&key), line, "{key}");
        }
    }

    #[test]
    fn text_that_is_no_toml_is_refused_with_its_lines() {
        for (text, line) in [
            ("a = 1\nb =\n", 2),
            ("a = 1\na = 2\n", 2),
            ("a = nan", 1),
            ("\na = 99999999999999999999", 2),
        ] {
            let errors = SettingsSource::parse("x.toml", text).unwrap_err();
            assert_eq!(errors.first().and_then(Diagnostic::line), Some(line), "{errors:?}");
        }
    }

    #[test]
    fn tables_deeper_than_anyone_writes_are_refused_by_their_line() {
        let dotted = ["a"; 60].join(".");
        let deep = (0..70).fold("1".to_owned(), |value, _| format!("{{ {dotted} = {value} }}"));
        let errors =
            SettingsSource::parse("x.toml", &format!("b = 1\n{dotted} = {deep}\n")).unwrap_err();
        let text = errors.iter().map(ToString::to_string).collect::<String>();
        assert!(
            text.starts_with("x.toml:2: a.a.") && text.contains("more than 64 tables"),
            "{text}"
        );
        assert!(SettingsSource::parse("x.toml", &format!("{dotted} = 1\n")).is_ok());
    }
}
