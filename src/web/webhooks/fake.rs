//! An endpoint for tests, in front of queues in memory that tests control.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::EndpointState;
use super::sink::{SinkError, WebhookSink};
use crate::config::{Config, EnvironmentVariables, WebhooksConfig};
use ferryd_broker::webhook_message::WebhookMessage;
use ferryd_provider::Provider;
use ferryd_provider::fake_webhook;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_transport::certificates::{CertificateFetchError, CertificateSource};

/// The behaviour of a queue when a call arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SinkBehaviour {
    Confirm,
    Hang,
    Refuse(SinkError),
    Panic,
}

/// Queues in memory.
pub(super) struct MemorySink {
    pub kept: Mutex<Vec<WebhookMessage>>,
    pub behaviour: watch::Sender<SinkBehaviour>,
    /// The number of calls that have reached the queues.
    pub arrived: watch::Sender<usize>,
}

impl WebhookSink for MemorySink {
    fn store_webhook(&self, webhook: WebhookMessage) -> BoxFuture<'_, Result<(), SinkError>> {
        async move {
            self.arrived.send_modify(|arrived| *arrived += 1);
            let mut behaviour = self.behaviour.subscribe();
            let behaviour =
                *behaviour.wait_for(|behaviour| *behaviour != SinkBehaviour::Hang).await.unwrap();
            match behaviour {
                SinkBehaviour::Refuse(why) => return Err(why),
                SinkBehaviour::Panic => panic!("requested"),
                SinkBehaviour::Confirm | SinkBehaviour::Hang => {
                    self.kept.lock().unwrap().push(webhook);
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// Certificates in memory, by address.
#[derive(Default)]
pub(super) struct FakeCertificates {
    pub found: Mutex<BTreeMap<String, Result<Bytes, CertificateFetchError>>>,
    pub fetched: Mutex<Vec<String>>,
}

impl CertificateSource for FakeCertificates {
    fn certificate(&self, url: Url) -> BoxFuture<'_, Result<Bytes, CertificateFetchError>> {
        self.fetched.lock().unwrap().push(url.to_string());
        let found = self.found.lock().unwrap().get(url.as_str()).cloned();
        async move { found.unwrap_or(Err(CertificateFetchError::Absent)) }.boxed()
    }
}

/// Returns settings with a public address.
pub(super) fn settings() -> WebhooksConfig {
    let public_url = Some("https://hooks.example.com/ferry".to_owned().try_into().unwrap());
    WebhooksConfig {
        public_url,
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..WebhooksConfig::default()
    }
}

/// An endpoint with the provider `acme`, which has a webhook, and `mute`, which has none.
pub(super) struct FakeSite {
    pub endpoint: Arc<EndpointState>,
    pub queues: Arc<MemorySink>,
    pub certificates: Arc<FakeCertificates>,
    pub stop: CancellationToken,
}

impl FakeSite {
    pub fn with(settings: WebhooksConfig) -> Self {
        Self::of([fake_webhook::given(provider("acme", "")), provider("mute", "")], settings)
    }

    /// Makes an endpoint in front of these providers.
    pub fn of(providers: impl IntoIterator<Item = Provider>, settings: WebhooksConfig) -> Self {
        let queues = Arc::new(MemorySink {
            kept: Mutex::default(),
            behaviour: watch::channel(SinkBehaviour::Confirm).0,
            arrived: watch::channel(0).0,
        });
        let registry = ProviderRegistry::new(providers, BTreeMap::new());
        let stop = CancellationToken::new();
        let keep = Arc::clone(&queues) as Arc<dyn WebhookSink>;
        let certificates = Arc::new(FakeCertificates::default());
        let source = Arc::clone(&certificates) as Arc<dyn CertificateSource>;
        let endpoint =
            Arc::new(EndpointState::new(Arc::new(registry), keep, source, settings, stop.clone()));
        Self { endpoint, queues, certificates, stop }
    }
}

/// The key that tokens are signed with.
pub(super) const TOKEN_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Makes a provider whose file has these tables.
pub(super) fn provider(name: &str, tables: &str) -> Provider {
    let config = format!(
        "[webhooks]\npublic_url = 'https://hooks.example.com'\nsigning_keys = ['{TOKEN_KEY}']\n"
    );
    let file = Some((Path::new("ferryd.toml"), config.as_str()));
    let defaults =
        Config::from_parts(file, &EnvironmentVariables::new()).unwrap().provider_defaults();
    let text = format!(
        "name = \"{name}\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n
         [operations.find]\nrequest = {{ method = \"GET\", path = \"/\" }}\n{tables}"
    );
    Provider::parse(&text, "test.toml", &defaults).unwrap()
}
