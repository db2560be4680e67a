//! Fields of a body: the parts that every state is made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::reader::BodyReader;
use super::writer::BodyWriter;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::JobId;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::ledger::record::RecordId;
use ferryd_domain::name::Name;

/// A value that a body holds.
pub(super) trait BodyField: Sized {
    /// Writes the value.
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>);

    /// Reads a value; `None` where the body holds no such value.
    fn take(body: &mut BodyReader<'_>) -> Option<Self>;
}

impl BodyReader<'_> {
    /// Reads a field.
    pub fn take<T: BodyField>(&mut self) -> Option<T> {
        T::take(self)
    }
}

/// Writes the fields of a structure one after the other.
macro_rules! fields {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl BodyField for $type {
            fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
                let Self { $($field),+ } = self;
                $($field.put(body);)+
            }

            fn take(body: &mut BodyReader<'_>) -> Option<Self> {
                Some(Self { $($field: body.take()?),+ })
            }
        }
    };
}

/// Writes the number of a variant, and then its fields.
macro_rules! variants {
    ($type:ty { $($number:literal: $variant:ident { $($field:tt: $name:ident),* }),+ $(,)? }) => {
        impl BodyField for $type {
            fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
                match self {
                    $(Self::$variant { $($field: $name),* } => {
                        body.put_byte($number);
                        $($name.put(body);)*
                    })+
                }
            }

            fn take(body: &mut BodyReader<'_>) -> Option<Self> {
                Some(match body.take_byte()? {
                    $($number => Self::$variant { $($field: body.take()?),* },)+
                    _ => return None,
                })
            }
        }
    };
}

/// Writes a type as the text that it is read from.
macro_rules! texts {
    ($($type:ty: $parse:expr;)+) => {$(
        impl BodyField for $type {
            fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
                body.put_text(self.as_str());
            }

            fn take(body: &mut BodyReader<'_>) -> Option<Self> {
                body.take_text().and_then($parse)
            }
        }
    )+};
}

/// Writes a whole number.
macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl BodyField for $type {
            fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
                body.put_number(u64::from(*self));
            }

            fn take(body: &mut BodyReader<'_>) -> Option<Self> {
                Self::try_from(body.take_number()?).ok()
            }
        }
    )+};
}

pub(super) use {fields, variants};

numbers! { u16 u32 u64 }

texts! {
    String: Some;
    Name: |text: String| text.parse().ok();
    CommandId: |text: String| text.parse().ok();
    IdempotencyKey: |text: String| Some(Self::from_header(&text));
}

impl BodyField for bool {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_flag(*self);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        body.take_flag()
    }
}

impl BodyField for i64 {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_signed(*self);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        body.take_signed()
    }
}

impl BodyField for Timestamp {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_time(*self);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        body.take_time()
    }
}

impl BodyField for RecordId {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_writer(self.writer);
        body.put_number(self.number);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        Some(Self { writer: body.take_writer()?, number: body.take_number()? })
    }
}

impl BodyField for JobId {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_bytes(self.0.as_bytes());
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        body.take_array().map(|id| Self(Uuid::from_bytes(id)))
    }
}

impl<T: BodyField> BodyField for Box<T> {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        self.as_ref().put(body);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        body.take().map(Self::new)
    }
}

impl<T: BodyField> BodyField for Option<T> {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_flag(self.is_some());
        if let Some(value) = self {
            value.put(body);
        }
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        if body.take_flag()? { body.take().map(Some) } else { Some(None) }
    }
}

impl<T: BodyField> BodyField for Vec<T> {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_flag(!self.is_empty());
        if !self.is_empty() {
            body.put_count(self.len());
            for item in self {
                item.put(body);
            }
        }
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        let count = if body.take_flag()? { body.take_count()? } else { 0 };
        (0..count).map(|_| body.take()).collect()
    }
}

impl<T: BodyField> BodyField for BTreeMap<String, T> {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        body.put_flag(!self.is_empty());
        if !self.is_empty() {
            body.put_count(self.len());
            for (name, value) in self {
                body.put_text(name);
                value.put(body);
            }
        }
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        let count = if body.take_flag()? { body.take_count()? } else { 0 };
        (0..count).map(|_| Some((body.take_text()?, body.take()?))).collect()
    }
}
