//! The body of a request or message, compiled and filled in.

use bytes::Bytes;
use serde_json::Value as Json;

use super::encode;
use super::expression::{ExpressionScope, KnownVariables};
use super::file::{BodyEncoding, ListEncoding};
use super::missing_value::{filled_tree, invalid, unfilled};
use super::text::scalar;
use super::tree::{TreeKey, TreeTemplate};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::outcome::Failure;
use ferryd_settings::findings::SettingsCursor;

/// The usual size of a body, in bytes: most are shorter.
const USUAL_BODY: usize = 512;

/// The body as a file states it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodySource<'f> {
    /// The body.
    pub(super) body: Option<&'f Json>,
    /// Its encoding.
    pub(super) encoding: Option<BodyEncoding>,
    /// The encoding of lists in a form.
    pub(super) lists: Option<ListEncoding>,
    /// The field that takes the idempotency key.
    pub(super) key_field: Option<&'f str>,
}

/// A body, compiled.
#[derive(Debug)]
pub(super) struct BodyTemplate {
    tree: Option<TreeTemplate>,
    encoding: BodyEncoding,
    lists: ListEncoding,
    key_field: Option<String>,
}

impl BodyTemplate {
    /// Compiles a body; faults are reported at `place`, the table beside whose request the body
    /// stands.
    pub(super) fn compile(
        source: BodySource<'_>,
        known: &KnownVariables<'_>,
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let BodySource { body, encoding, lists, key_field } = source;
        let tree = body.map(|body| TreeTemplate::compile(body, known, &place.key("body")));
        let form = encoding == Some(BodyEncoding::Form);
        if form && !matches!(body, None | Some(Json::Object(_) | Json::String(_))) {
            place.key("body").refuse("a form is a map; write a table of fields");
        }
        let raw = encoding == Some(BodyEncoding::Raw);
        if raw && !matches!(body, None | Some(Json::String(_))) {
            place.key("body").refuse("a raw body is a text; write one, or another `encoding`");
        }
        if key_field.is_some() && !matches!(body, Some(Json::Object(_))) {
            place
                .key("idempotency")
                .key("field")
                .refuse("there is no body with fields; write `header`, or a `body`");
        }
        Some(Self {
            tree: tree.map_or(Some(None), |tree| tree.map(Some))?,
            encoding: encoding.unwrap_or_default(),
            lists: lists.unwrap_or_default(),
            key_field: key_field.map(str::to_owned),
        })
    }

    /// The values of the body, if there is one.
    pub(super) fn tree(&self) -> Option<&TreeTemplate> {
        self.tree.as_ref()
    }

    /// The encoding of lists.
    pub(super) fn lists(&self) -> ListEncoding {
        self.lists
    }

    /// The media type of the body.
    pub(super) fn content_type(&self) -> &'static str {
        encode::content_type(self.encoding)
    }

    /// Renders the body; empty for none.
    pub(super) fn render(
        &self,
        scope: &ExpressionScope<'_>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Bytes, Failure> {
        if self.encoding == BodyEncoding::Json && self.key_field.is_none() {
            return self.write(scope);
        }
        let Some(mut value) = filled_tree(self.tree.as_ref(), "body", scope)? else {
            return Ok(Bytes::new());
        };
        if let (Some(field), Some(key)) = (&self.key_field, key) {
            let fields = value
                .as_object_mut()
                .ok_or_else(|| invalid("body", &"is no map, so it cannot hold the key"))?;
            fields.insert(field.clone(), key.as_str().into());
        }
        if self.encoding == BodyEncoding::Form && !value.is_object() {
            return Err(invalid("body", &"is no map, as a form has to be"));
        }
        if self.encoding == BodyEncoding::Raw && !(value.is_null() || scalar(&value).is_some()) {
            return Err(invalid("body", &"is no text, as a raw body has to be"));
        }
        Ok(encode::body(&value, self.encoding, self.lists))
    }

    /// Writes a body that is JSON and does not contain the key.
    fn write(&self, scope: &ExpressionScope<'_>) -> Result<Bytes, Failure> {
        let Some(tree) = &self.tree else { return Ok(Bytes::new()) };
        let mut text = Vec::with_capacity(USUAL_BODY);
        tree.write_json(scope, TreeKey::Root("body"), &mut text)
            .map_err(|error| unfilled(&error))?;
        Ok(text.into())
    }
}
