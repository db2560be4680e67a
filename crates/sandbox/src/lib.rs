//! A local provider over HTTPS for demonstrations and tests.
//!
//! The sandbox takes any method and path as a call, behaves as the field `sandbox` of the call's
//! own payload says, answers a repeated idempotency key like a good provider does, and counts calls
//! and transactions: `GET /sandbox/calls` shows the counters, `DELETE /sandbox/calls` resets them.
//! `GET /sandbox/transactions?id=…` and `/sandbox/transactions/sb_1` show the status of a transaction.

mod behaviour;
mod calls;
mod certificate;
mod state;
mod transactions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use calls::{CallCounts, CallsSnapshot};
pub use certificate::CertificateError;

use certificate::SandboxCertificate;
use state::SandboxState;

use ferryd_serve::connection_limiter::{ConnectionLimiter, EvictionPolicy};
use ferryd_serve::network::IpNetwork;
use ferryd_serve::server::{
    BoundListener, ConnectionLimits, ListenError, ServerConfig, ServerName,
};

/// The sandbox's name as a server.
const SANDBOX_SERVER: ServerName = ServerName {
    name: "the sandbox",
    remedy: "or choose another address; port 0 takes a free one",
};

/// The connection limits: none on number and age. At the end all connections are closed at once,
/// hanging ones too.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: Semaphore::MAX_PERMITS,
    head: Duration::from_secs(10),
    head_bytes: 256 << 10,
    age: Duration::MAX,
    drain_timeout: Duration::ZERO,
    longest_answer: Duration::ZERO,
};

/// The options of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOptions {
    /// The address to listen at; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The folder that keeps the certificate across restarts, with the authority to trust in
    /// `ca.pem`.
    pub dir: Option<PathBuf>,
}

/// A running sandbox. The server runs until [`Sandbox::shutdown`], or until this value is dropped.
pub struct Sandbox {
    address: SocketAddr,
    ca: String,
    state: Arc<SandboxState>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// The reason why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Sandbox {
    /// Starts a sandbox in tasks of the current runtime.
    ///
    /// # Errors
    /// The address is taken, or the certificate can't be read, made or kept.
    #[expect(
        clippy::unused_async,
        reason = "it needs a runtime, which only an async caller has for certain"
    )]
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let dir = options.dir.as_deref();
        let certificate = SandboxCertificate::in_dir(dir)?;
        let tls = Some(certificate.acceptor(dir)?);
        let listener = BoundListener::bind(SANDBOX_SERVER, options.bind)?;
        let (address, state, stop) =
            (listener.address(), Arc::new(SandboxState::default()), CancellationToken::new());
        let limiter = ConnectionLimiter::new(
            LIMITS.connections,
            EvictionPolicy::Newest,
            IpNetwork::all().into(),
        );
        let (router, limiter) = (state::router(&state), Arc::new(limiter));
        let config = ServerConfig { router, limits: LIMITS, limiter, tls, stop: stop.clone() };
        let serving = tokio::spawn(listener.serve(config));
        Ok(Self { address, ca: certificate.ca, state, stop, serving })
    }

    /// The address that the sandbox listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The authority to trust, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca
    }

    /// The counters so far.
    #[must_use]
    pub fn calls(&self) -> CallsSnapshot {
        self.state.snapshot()
    }

    /// Ends the accepted transactions of a caller, with this status.
    pub fn end(&self, caller: &str, status: &str) {
        self.state.end(caller, status);
    }

    /// Closes every connection, hanging ones too, and waits until they are gone.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        // A panic of the loop has been reported; nothing is served any more in either case.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
