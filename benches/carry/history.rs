//! A long history for the ledger: records of commands that were carried, repeated under other ids.
//!
//! To carry ten million commands takes half an hour. Their records, as ferryd has written them for
//! some, are copied instead: each copy as another process would have written it, about commands of
//! its own.

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use uuid::Uuid;

use crate::BenchError;
use ferryd_broker::message::OutgoingMessage;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::ledger::record::RecordId;
use ferryd_ledger::batch::{BatchSource, RecordBatch, last_line};
use ferryd_ledger::compression::decompress_body;
use ferryd_ledger::record_encoder::RecordEncoder;

/// The number of messages that are published before their confirms are awaited.
const UNCONFIRMED: usize = 64;
/// The beginning of the ids of the bench's commands, before their number.
const ID: &[u8] = b"bench.";

/// The records in the ledger.
pub(crate) struct RecordedHistory {
    channel: Channel,
    _connection: Connection,
    stream: ShortString,
    batches: Vec<RecordedBatch>,
}

/// A message of the ledger, unpacked.
struct RecordedBatch {
    writer: Uuid,
    lines: RecordBatch,
}

impl RecordedHistory {
    /// Reads all that the ledger holds.
    pub(crate) async fn read(uri: &str) -> Result<Self, BenchError> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let names = TopologyNames::new("ferry".parse()?);
        let mut history = Self {
            channel,
            _connection: connection,
            stream: names.ledger().into(),
            batches: Vec::new(),
        };
        let (marker, message) = RecordEncoder::new(&names).encode_marker(Timestamp::now());
        history.publish(vec![message]).await?;
        history.read_until(marker).await?;
        Ok(history)
    }

    async fn read_until(&mut self, marker: RecordId) -> Result<(), BenchError> {
        self.channel.basic_qos(500, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        let options = BasicConsumeOptions::default();
        let mut messages =
            self.channel.basic_consume(self.stream.clone(), "".into(), options, arguments).await?;
        loop {
            let message = messages.next().await.ok_or("the ledger can't be read")??;
            message.acker.ack(BasicAckOptions::default()).await?;
            let source = BatchSource::of(&message.properties).ok_or("a message without writer")?;
            if source.writer == marker.writer {
                return Ok(());
            }
            let body = decompress_body(&message.properties, &message.data)?.into_owned();
            let last = last_line(&message.properties).ok_or("a message without its last line")?;
            let lines = RecordBatch { first: source.first, last, body };
            self.batches.push(RecordedBatch { writer: source.writer, lines });
        }
    }

    /// Writes one more copy of all records. `number` distinguishes the copy from all others.
    pub(crate) async fn write_copy(&self, number: usize) -> Result<(), BenchError> {
        let id = format!("copy.{number}.");
        let mut writers: Vec<(Uuid, Uuid)> = Vec::new();
        for batches in self.batches.chunks(UNCONFIRMED) {
            let mut messages = Vec::with_capacity(batches.len());
            for RecordedBatch { writer, lines } in batches {
                let known = writers.iter().find(|(known, _)| known == writer).copied();
                let (_, copied) = known.unwrap_or_else(|| {
                    writers.push((*writer, Uuid::now_v7()));
                    writers[writers.len() - 1]
                });
                let names = (writer.to_string(), copied.to_string());
                let body = renamed(&lines.body, (names.0.as_bytes(), names.1.as_bytes()), &id);
                let lines = RecordBatch { body, ..*lines };
                messages.push(lines.into_message(self.stream.clone(), copied, Timestamp::now()));
            }
            self.publish(messages).await?;
        }
        Ok(())
    }

    async fn publish(&self, messages: Vec<OutgoingMessage>) -> Result<(), BenchError> {
        let mut confirms = Vec::with_capacity(messages.len());
        for OutgoingMessage { exchange, routing_key, properties, body } in messages {
            let options = BasicPublishOptions::default();
            confirms.push(
                self.channel
                    .basic_publish(exchange, routing_key, options, &body, properties)
                    .await?,
            );
        }
        try_join_all(confirms).await?;
        Ok(())
    }
}

/// Copies lines with another writer, and with other ids of commands.
fn renamed(lines: &[u8], (writer, copied): (&[u8], &[u8]), id: &str) -> Vec<u8> {
    let mut renamed = Vec::with_capacity(lines.len() + lines.len() / 8);
    let mut rest = lines;
    while let Some((byte, after)) = rest.split_first() {
        if let Some(number) =
            rest.strip_prefix(ID).filter(|number| number.first().is_some_and(u8::is_ascii_digit))
        {
            renamed.extend_from_slice(id.as_bytes());
            rest = number;
        } else if let Some(after) = rest.strip_prefix(writer) {
            renamed.extend_from_slice(copied);
            rest = after;
        } else {
            renamed.push(*byte);
            rest = after;
        }
    }
    renamed
}
