//! Conditions that only compare values with constants, such as `status == 200 and body.state in
//! ['paid', 'settled']`. They are answered where the values are, without the engine.

use serde_json::Value as Json;

use super::expression_scope::{ExpressionScope, PathValue};
use super::expression_source::path;

/// Comparisons that all have to hold.
#[derive(Debug)]
pub(super) struct ComparisonList(Vec<PathComparison>);

/// A comparison: the value at a path is one of these constants.
#[derive(Debug)]
struct PathComparison {
    path: Vec<String>,
    constants: Vec<ComparedConstant>,
}

#[derive(Debug, PartialEq)]
enum ComparedConstant {
    Text(String),
    Number(i64),
}

impl ComparisonList {
    /// Reads a condition; `None` where it has anything but comparisons and `and`.
    pub(super) fn parse(source: &str) -> Option<Self> {
        let mut comparisons = Vec::new();
        let mut rest = source.trim();
        loop {
            let (comparison, after) = PathComparison::parse(rest)?;
            comparisons.push(comparison);
            if after.is_empty() {
                return Some(Self(comparisons));
            }
            rest = after.strip_prefix("and ")?.trim_start();
        }
    }

    /// Returns true if all comparisons hold; `None` where only the engine can tell.
    pub(super) fn hold(&self, scope: &ExpressionScope<'_>) -> Option<bool> {
        for comparison in &self.0 {
            if !comparison.holds(scope)? {
                return Some(false);
            }
        }
        Some(true)
    }
}

impl PathComparison {
    /// Reads a comparison, and returns what follows it.
    fn parse(source: &str) -> Option<(Self, &str)> {
        let (name, rest) = source.split_once(' ')?;
        let (path, rest) = (path(name)?, rest.trim_start());
        let (constants, rest) = if let Some(list) = rest.strip_prefix("in ") {
            constants(list.trim_start().strip_prefix('[')?)?
        } else {
            let (single, rest) = constant(rest.strip_prefix("==")?.trim_start())?;
            (vec![single], rest)
        };
        Some((Self { path, constants }, rest.trim_start()))
    }

    fn holds(&self, scope: &ExpressionScope<'_>) -> Option<bool> {
        let value = match scope.at(&self.path) {
            PathValue::Found(value) => value,
            PathValue::LeftOut => return Some(false),
            PathValue::Unknown => return None,
        };
        let mut equal = false;
        for constant in &self.constants {
            equal |= constant.equals(&value)?;
        }
        Some(equal)
    }
}

impl ComparedConstant {
    /// Compares a text with a text and a whole number with a whole number. The engine also compares
    /// values of different types.
    fn equals(&self, value: &Json) -> Option<bool> {
        match (self, value) {
            (Self::Text(constant), Json::String(text)) => Some(constant == text),
            (Self::Number(constant), Json::Number(number)) => {
                number.as_i64().map(|number| number == *constant)
            }
            _ => None,
        }
    }
}

/// Reads constants up to the end of their list, and returns what follows it.
fn constants(mut source: &str) -> Option<(Vec<ComparedConstant>, &str)> {
    let mut constants = Vec::new();
    loop {
        let (constant, rest) = constant(source.trim_start())?;
        constants.push(constant);
        source = rest.trim_start();
        match source.strip_prefix(',') {
            Some(rest) => source = rest,
            None => return Some((constants, source.strip_prefix(']')?)),
        }
    }
}

/// Reads a constant, and returns what follows it.
fn constant(source: &str) -> Option<(ComparedConstant, &str)> {
    if let Some(quote) = source.chars().next().filter(|first| matches!(first, '\'' | '"')) {
        let (text, rest) = source[1..].split_once(quote)?;
        return (!text.contains('\\')).then(|| (ComparedConstant::Text(text.to_owned()), rest));
    }
    let end = source.find(|c: char| !c.is_ascii_digit()).unwrap_or(source.len());
    let (digits, rest) = source.split_at(end);
    let is_whole = rest.is_empty() || rest.starts_with([' ', ',', ']']);
    Some((ComparedConstant::Number(digits.parse().ok().filter(|_| is_whole)?), rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::expression::{Condition, Expression, KnownVariables};
    use super::*;
    use std::collections::BTreeSet;

    const COMPARISONS: [&str; 9] = [
        "body.state == 'paid'",
        "  body.state   ==   \"paid\"  ",
        "status == 200",
        "status in [200, 201]",
        "status in [409,422] and body.state == 'and'",
        "body.state in ['paid', 'it is', '']",
        "status == 200 and body.state in ['paid'] and body.code == 7",
        "body.deep.state == 'paid'",
        "body.code in ['7', 'true', 'none']",
    ];

    #[test]
    fn a_comparison_is_answered_as_the_engine_answers_it() {
        let values = [
            json!({"state": "paid", "code": 7}),
            json!({"state": "and", "code": "7"}),
            json!({"state": "", "code": 7.0, "deep": {"state": "paid"}}),
            json!({"state": null, "code": true, "deep": "paid"}),
            json!({"state": ["paid"], "deep": []}),
            json!("paid"),
            json!(null),
        ];
        let secrets = BTreeSet::new();
        let known = KnownVariables::in_answer(&secrets);
        let mut answered = 0;
        for source in COMPARISONS {
            let list = ComparisonList::parse(source).unwrap();
            let condition = Condition::compile(source, &known).unwrap();
            let engine = Expression::compile(source, &known).unwrap();
            for body in &values {
                for status in [200_u16, 409] {
                    let scope = ExpressionScope::new([
                        ("status", minijinja::Value::from(status).into()),
                        ("body", body.into()),
                    ]);
                    let expected = engine.eval(&scope).unwrap().is_true();
                    assert_eq!(condition.holds(&scope), expected, "{source} {body}");
                    answered += usize::from(list.hold(&scope).is_some());
                }
            }
        }
        assert!(answered > 50, "{answered}");
    }

    #[test]
    fn everything_else_is_left_to_the_engine() {
        for source in [
            "",
            "body",
            "not body.state == 'paid'",
            "body.state == 'paid' or status == 200",
            "body.state == 'paid' andstatus == 200",
            "body.state != 'paid'",
            "body.state == 'a\\'b'",
            "body.state == 'a' 'b'",
            "body.state == 'a' | upper",
            "status == 2.5",
            "status == 200 + 1",
            "status == 200x",
            "status == -1",
            "status >= 400",
            "status in [200, 201,]",
            "status in []",
            "status in [200",
            "status in codes",
            "body['state'] == 'paid'",
            "body.state == other",
            "'paid' == body.state",
            "body.state == 'paid' if status else 1",
        ] {
            assert!(ComparisonList::parse(source).is_none(), "{source}");
        }
    }
}
