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

use super::Endpoint;
use super::queue::{Keep, NotKept};
use crate::config::{Config, Environment, Webhooks};
use ferryd_broker::callback::Callback;
use ferryd_provider::Provider;
use ferryd_provider::fake_webhook;
use ferryd_provider::registry::Registry;
use ferryd_transport::certificates::{CertificateSource, NoCertificate};

/// The behaviour of a queue when a call arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Confirm,
    Hang,
    Refuse(NotKept),
    Panic,
}

/// Queues in memory.
pub(super) struct Queues {
    pub kept: Mutex<Vec<Callback>>,
    pub behaviour: watch::Sender<Behaviour>,
    /// The number of calls that have reached the queues.
    pub arrived: watch::Sender<usize>,
}

impl Keep for Queues {
    fn keep(&self, callback: Callback) -> BoxFuture<'_, Result<(), NotKept>> {
        async move {
            self.arrived.send_modify(|arrived| *arrived += 1);
            let mut behaviour = self.behaviour.subscribe();
            let behaviour = *behaviour.wait_for(|behaviour| *behaviour != Behaviour::Hang).await.unwrap();
            match behaviour {
                Behaviour::Refuse(why) => return Err(why),
                Behaviour::Panic => panic!("told to"),
                Behaviour::Confirm | Behaviour::Hang => self.kept.lock().unwrap().push(callback),
            }
            Ok(())
        }
        .boxed()
    }
}

/// Certificates in memory, by address.
#[derive(Default)]
pub(super) struct FakeCertificates {
    pub found: Mutex<BTreeMap<String, Result<Bytes, NoCertificate>>>,
    pub asked: Mutex<Vec<String>>,
}

impl CertificateSource for FakeCertificates {
    fn certificate(&self, url: Url) -> BoxFuture<'_, Result<Bytes, NoCertificate>> {
        self.asked.lock().unwrap().push(url.to_string());
        let found = self.found.lock().unwrap().get(url.as_str()).cloned();
        async move { found.unwrap_or(Err(NoCertificate::Absent)) }.boxed()
    }
}

/// Returns settings with a public address.
pub(super) fn settings() -> Webhooks {
    let public_url = Some("https://hooks.example.com/ferry".to_owned().try_into().unwrap());
    Webhooks { public_url, trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..Webhooks::default() }
}

/// An endpoint with the provider `acme`, which has a webhook, and `mute`, which has none.
pub(super) struct Site {
    pub endpoint: Arc<Endpoint>,
    pub queues: Arc<Queues>,
    pub certificates: Arc<FakeCertificates>,
    pub stop: CancellationToken,
}

impl Site {
    pub fn with(settings: Webhooks) -> Self {
        Self::of([fake_webhook::given(provider("acme", "")), provider("mute", "")], settings)
    }

    /// Makes an endpoint in front of these providers.
    pub fn of(providers: impl IntoIterator<Item = Provider>, settings: Webhooks) -> Self {
        let queues = Arc::new(Queues {
            kept: Mutex::default(),
            behaviour: watch::channel(Behaviour::Confirm).0,
            arrived: watch::channel(0).0,
        });
        let registry = Registry::new(providers, BTreeMap::new());
        let stop = CancellationToken::new();
        let keep = Arc::clone(&queues) as Arc<dyn Keep>;
        let certificates = Arc::new(FakeCertificates::default());
        let source = Arc::clone(&certificates) as Arc<dyn CertificateSource>;
        let endpoint = Arc::new(Endpoint::new(Arc::new(registry), keep, source, settings, stop.clone()));
        Self { endpoint, queues, certificates, stop }
    }
}

/// The key that tokens are signed with.
pub(super) const TOKEN_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Makes a provider whose file has these tables.
pub(super) fn provider(name: &str, tables: &str) -> Provider {
    let config = format!("[webhooks]\npublic_url = 'https://hooks.example.com'\ntoken_keys = ['{TOKEN_KEY}']\n");
    let file = Some((Path::new("ferryd.toml"), config.as_str()));
    let defaults = Config::from_parts(file, &Environment::new()).unwrap().provider_defaults();
    let text = format!(
        "name = \"{name}\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n
         [operations.find]\nrequest = {{ method = \"GET\", path = \"/\" }}\n{tables}"
    );
    Provider::parse(&text, "test.toml", &defaults).unwrap()
}
