//! JSON values in a body.

use serde_json::{Map, Number, Value};

use super::field::BodyField;
use super::reader::BodyReader;
use super::writer::BodyWriter;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NATURAL: u8 = 3;
const NEGATIVE: u8 = 4;
const FRACTION: u8 = 5;
const TEXT: u8 = 6;
const LIST: u8 = 7;
const OBJECT: u8 = 8;

impl BodyField for Value {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        match self {
            Self::Null => body.put_byte(NULL),
            Self::Bool(value) => body.put_byte(if *value { TRUE } else { FALSE }),
            Self::Number(number) => put_number(number, body),
            Self::String(text) => {
                body.put_byte(TEXT);
                body.put_text(text);
            }
            Self::Array(items) => {
                body.put_byte(LIST);
                body.put_count(items.len());
                for item in items {
                    item.put(body);
                }
            }
            Self::Object(fields) => {
                body.put_byte(OBJECT);
                body.put_count(fields.len());
                for (name, value) in fields {
                    body.put_text(name);
                    value.put(body);
                }
            }
        }
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        Some(match body.take_byte()? {
            NULL => Self::Null,
            FALSE => Self::Bool(false),
            TRUE => Self::Bool(true),
            NATURAL => Self::Number(body.take_number()?.into()),
            NEGATIVE => Self::Number(body.take_signed()?.into()),
            FRACTION => Self::Number(Number::from_f64(f64::from_le_bytes(body.take_array()?))?),
            TEXT => Self::String(body.take_text()?),
            LIST => {
                let count = body.enter().and_then(|()| body.take_count())?;
                let items = (0..count).map(|_| body.take()).collect::<Option<_>>()?;
                body.leave();
                Self::Array(items)
            }
            OBJECT => {
                let count = body.enter().and_then(|()| body.take_count())?;
                let field = |_| Some((body.take_text()?, body.take()?));
                let fields = (0..count).map(field).collect::<Option<Map<_, _>>>()?;
                body.leave();
                Self::Object(fields)
            }
            _ => return None,
        })
    }
}

fn put_number(number: &Number, body: &mut BodyWriter<'_>) {
    if let Some(natural) = number.as_u64() {
        body.put_byte(NATURAL);
        body.put_number(natural);
    } else if let Some(negative) = number.as_i64() {
        body.put_byte(NEGATIVE);
        body.put_signed(negative);
    } else {
        body.put_byte(FRACTION);
        body.put_bytes(&number.as_f64().unwrap_or_default().to_le_bytes());
    }
}
