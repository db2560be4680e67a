//! The minimal consumer: the least code that carries a command with the promise *publish and
//! confirm, then ack*.
//!
//! The minimal consumer has none of ferryd's features: no provider files, retries, dead letters,
//! log, orderly shutdown or reconnecting. Everything else is done in the same way: lapin and
//! reqwest, two connections to the broker, the same settings of the HTTPS client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::{Certificate, Client, redirect, retry, tls};
use serde_json::{Value, json};

use crate::BenchError;

/// The arguments of the minimal consumer.
#[derive(Debug, Args)]
pub(crate) struct MinimalSettings {
    #[arg(long)]
    amqp_uri: String,
    #[arg(long)]
    queue: String,
    #[arg(long)]
    prefetch: u16,
    #[arg(long)]
    url: String,
    #[arg(long)]
    ca_file: PathBuf,
}

struct MinimalCarrier {
    client: Client,
    url: String,
    events: Channel,
}

/// Consumes until it is killed.
pub(crate) async fn run(settings: &MinimalSettings) -> Result<(), BenchError> {
    let connect =
        async || Connection::connect(&settings.amqp_uri, ConnectionProperties::default()).await;
    let (consuming, publishing) = (connect().await?, connect().await?);
    let events = publishing.create_channel().await?;
    events.confirm_select(ConfirmSelectOptions::default()).await?;
    let client = client(settings)?;
    let carrier =
        Arc::new(MinimalCarrier { client, url: format!("{}/v1/charges", settings.url), events });
    let channel = consuming.create_channel().await?;
    channel.basic_qos(settings.prefetch, BasicQosOptions::default()).await?;
    let queue = settings.queue.as_str().into();
    let options = BasicConsumeOptions::default();
    let mut deliveries =
        channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = deliveries.next().await {
        let (carrier, delivery) = (Arc::clone(&carrier), delivery?);
        tokio::spawn(async move {
            if let Err(error) = carrier.carry(delivery).await {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

/// Builds an HTTP client with the settings of ferryd's own.
fn client(settings: &MinimalSettings) -> Result<Client, BenchError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let keepalive = Duration::from_secs(15);
    let client = Client::builder()
        .tls_version_min(tls::Version::TLS_1_2)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_mins(5))
        .pool_idle_timeout(Duration::from_secs(4))
        .tcp_keepalive(keepalive)
        .tcp_keepalive_interval(keepalive)
        .tcp_nodelay(true)
        .tls_certs_only(Certificate::from_pem_bundle(&std::fs::read(&settings.ca_file)?)?);
    Ok(client.build()?)
}

impl MinimalCarrier {
    async fn carry(&self, delivery: Delivery) -> Result<(), BenchError> {
        let command: Value = serde_json::from_slice(&delivery.data)?;
        let id = command["id"].as_str().ok_or("a command without an id")?;
        let answer = self.call(id, &command["payload"]).await?;
        let event = json!({
            "id": format!("{id}/completed"), "subject": id, "time": jiff::Timestamp::now(),
            "reference": command["reference"], "metadata": command["metadata"],
            "result": { "id": answer["id"], "status": answer["status"] },
        });
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_message_id(format!("{id}/completed").into());
        let options = BasicPublishOptions::default();
        let (exchange, key, body) =
            ("ferry.events".into(), "payment.bench.charge.completed".into(), event.to_string());
        let confirm =
            self.events.basic_publish(exchange, key, options, body.as_bytes(), properties).await?;
        if !confirm.await?.is_ack() {
            return Err("the broker refused an event".into());
        }
        delivery.acker.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn call(&self, id: &str, payload: &Value) -> Result<Value, BenchError> {
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("authorization", "Bearer sk_bench_51H8x2KZvq0")
            .header("idempotency-key", id);
        let answer = request.body(payload.to_string()).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}
