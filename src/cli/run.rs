//! `ferryd run`: the daemon as a process, with its signals and its notifications to systemd.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::certificates::{CertificateFindings, examine_certificates};
use super::error::CommandError;
use super::interrupt::{INTERRUPTED, StopSignals};
use super::ledger_retention::ledger_retention;
use super::loaded_config::LoadedConfig;
use super::provider_folder::warn_of_folders;
use crate::config::Config;
use crate::daemon::{self, ApiSetup, LedgerSetup, WebhooksSetup};
use crate::telemetry;
use crate::web::access::TokenRegistry;
use crate::web::api_address::ApiAddressFile;
use crate::web::host_token::HostToken;
use crate::web::serving::API_SERVER;
use crate::web::webhooks::WEBHOOK_SERVER;
use crate::web::webhooks::tls;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::topology::{SubscriberQueue, TopologyNames};
use ferryd_provider::registry::ProviderRegistry;
use ferryd_serve::server::BoundListener;

const EXAMPLES: &str = "\
Examples:
  ferryd run                                    with /etc/ferryd/ferryd.toml
  ferryd run --config ferryd.toml
  FERRYD_LOG=debug ferryd run --config ferryd.toml

SIGTERM, SIGINT or SIGHUP: stop taking commands, finish what is in flight within shutdown.grace_period, end with 0.
A second SIGTERM or SIGINT ends at once; what was in flight is delivered again by the broker.";

/// The time after the first signal in which another counts as a duplicate of it.
const ECHO: Duration = Duration::from_millis(200);

/// The arguments of `ferryd run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArguments {}

impl RunArguments {
    #[expect(
        clippy::unused_self,
        reason = "every command has its arguments, even if there are none"
    )]
    pub(super) fn run(self, config: Option<&Path>) -> Result<(), CommandError> {
        let setup = LoadedConfig::load_servable(config)?;
        telemetry::init(&setup.config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(serve(setup));
        drop(runtime);
        telemetry::flush();
        ended
    }
}

async fn serve(setup: LoadedConfig) -> Result<(), CommandError> {
    let LoadedConfig { config, registry } = setup;
    info!(
        service.version = env!("CARGO_PKG_VERSION"),
        providers = registry.iter().count(),
        "starting"
    );
    let stop = CancellationToken::new();
    let grace = config.shutdown.grace_period;
    let signals = tokio::spawn(follow_signals(stop.clone(), grace)?);
    warn_at_start(&config, &registry);
    let amqp = AmqpSettings::from(&config.amqp);
    let ledger = ledger_setup(&config, &registry)?;
    let host_token = host_token(&config)?;
    let webhooks = webhooks_setup(&config)?;
    let api = api_setup(&config, host_token.as_ref())?;
    let announcing = announce_address(&config, host_token.as_ref(), api.as_ref(), &stop);
    // Ready means that the configuration is valid and the daemon runs. If it meant "connected",
    // systemd would end a daemon whose broker is down, although the daemon's job is to wait for it.
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(watchdog());
    let ended =
        daemon::run(daemon_setup(config, registry, amqp, ledger, (api, webhooks)), stop).await;
    watchdog.abort();
    signals.abort();
    if let Some(announcing) = announcing {
        // The task only ends here; a panic in it has been logged.
        let _ = announcing.await;
    }
    ended.map(drop).map_err(CommandError::from)
}

/// Logs what keeps commands from being carried out, or soon will: a folder without a provider,
/// expired certificates. Neither keeps the daemon from starting, because it has other work to do.
fn warn_at_start(config: &Config, registry: &ProviderRegistry) {
    let providers: Vec<_> = registry.iter().map(AsRef::as_ref).collect();
    for warning in warn_of_folders(config, &providers) {
        warn!("{warning}");
    }
    let CertificateFindings { warnings, faults } =
        examine_certificates(config, &providers, Timestamp::now());
    for line in faults.into_iter().chain(warnings) {
        warn!("{line}");
    }
}

/// Returns the settings of the ledger.
fn ledger_setup(config: &Config, registry: &ProviderRegistry) -> Result<LedgerSetup, CommandError> {
    let (dir, retention) = (config.ledger_folder()?, ledger_retention(config, registry));
    Ok(LedgerSetup { dir, retention, slack: config.ledger.claim_margin })
}

/// Reads the token of this host, or makes it at the first start, where the API is enabled.
fn host_token(config: &Config) -> Result<Option<HostToken>, CommandError> {
    if !config.api.enabled {
        return Ok(None);
    }
    let token =
        HostToken::load_or_create(&config.host_token_file()?, config.api.token_group.as_deref())?;
    info!(file = %token.path().display(), "the token of this host is in a file");
    Ok(Some(token))
}

/// Opens the API's listener, unless there is no token because the API is disabled. Needs a runtime.
fn api_setup(
    config: &Config,
    host_token: Option<&HostToken>,
) -> Result<Option<ApiSetup>, CommandError> {
    let api = &config.api;
    let listening = |host_token: &HostToken| {
        let tokens = TokenRegistry::new(&api.tokens, host_token);
        Ok(ApiSetup {
            listener: BoundListener::bind(API_SERVER, api.bind)?,
            tokens,
            proxies: api.trusted_proxies.clone(),
        })
    };
    host_token.map(listening).transpose()
}

/// Writes the API's address to a file for the subcommands of this host, where the configuration
/// leaves the port open.
fn announce_address(
    config: &Config,
    host_token: Option<&HostToken>,
    api: Option<&ApiSetup>,
    stop: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let (token, api) = host_token.zip(api).filter(|_| config.api.bind.port() == 0)?;
    let file = ApiAddressFile::beside(token.path());
    Some(tokio::spawn(file.announce(api.listener.address(), stop.clone())))
}

/// Opens the listener for webhooks, where the endpoint is enabled. Needs a runtime.
fn webhooks_setup(config: &Config) -> Result<Option<WebhooksSetup>, CommandError> {
    let settings = config.webhooks.clone();
    if !settings.is_enabled() {
        return Ok(None);
    }
    let tls =
        tls::load(&settings).map_err(|error| CommandError::Providers(vec![error.to_string()]))?;
    let listener = BoundListener::bind(WEBHOOK_SERVER, settings.bind)?;
    Ok(Some(WebhooksSetup { listener, tls, settings }))
}

fn daemon_setup(
    config: Config,
    registry: ProviderRegistry,
    amqp: AmqpSettings,
    ledger: LedgerSetup,
    (api, webhooks): (Option<ApiSetup>, Option<WebhooksSetup>),
) -> daemon::DaemonSetup {
    let subscriber = |entry: crate::config::SubscriberConfig| SubscriberQueue {
        queue: entry.queue,
        bindings: entry.bindings,
    };
    daemon::DaemonSetup {
        amqp,
        names: TopologyNames::new(config.prefix),
        registry,
        states: config.events.states,
        subscribers: config.events.subscribers.into_iter().map(subscriber).collect(),
        grace: config.shutdown.grace_period,
        max_logged_body_size: config.log.max_body_size,
        ledger,
        api,
        webhooks,
    }
}

/// Handles signals: the first asks for an orderly end, the second ends the process at once.
fn follow_signals(
    stop: CancellationToken,
    grace: Duration,
) -> Result<impl Future<Output = ()>, CommandError> {
    let mut signals = StopSignals::listen()?;
    Ok(async move {
        let name = signals.wait_for_first().await;
        info!(signal = name, "stop requested");
        let patience =
            u32::try_from(grace.as_micros().saturating_add(5_000_000)).unwrap_or(u32::MAX);
        notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(patience)]);
        stop.cancel();
        // Some senders, such as `timeout`, signal a process and its group, so one request arrives
        // twice.
        let _ = tokio::time::timeout(ECHO, async {
            loop {
                signals.wait_for_first().await;
            }
        })
        .await;
        let name = signals.wait_for_second().await;
        warn!(signal = name, "stopping at once; the broker redelivers what was in flight");
        telemetry::flush();
        std::process::exit(INTERRUPTED);
    })
}

/// Sends systemd its keep-alive messages at the interval that it asks for.
async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(interval / 2);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Sends a notification to systemd, where it listens for one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "failed to notify systemd");
    }
}
