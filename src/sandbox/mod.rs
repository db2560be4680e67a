//! A local provider over HTTPS for demonstrations and tests.
//!
//! It takes any method and path as a call, behaves as the field `sandbox` of the call's own payload asks, answers a
//! repeated idempotency key like a good provider does, and counts what was called and what was acted upon:
//! `GET /sandbox/calls` tells, `DELETE /sandbox/calls` starts again. `GET /sandbox/deeds?id=…` and `/sandbox/deeds/sb_1`
//! tell how something stands that was done or accepted.

mod behaviour;
mod calls;
mod certificate;
mod deeds;
mod desk;
mod line;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use calls::{Calls, CallsSnapshot};
pub use certificate::CertificateError;

use certificate::Certificate;
use desk::Desk;

/// How many connections may wait to be taken: as many as a full provider opens at once.
const BACKLOG: u32 = 4096;

/// Where a sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOptions {
    /// The address to listen at; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The folder that keeps the certificate over restarts, with the authority to trust in `ca.pem`.
    pub dir: Option<PathBuf>,
}

/// A running sandbox. It goes on until [`Sandbox::shutdown`], or until it is dropped.
pub struct Sandbox {
    address: SocketAddr,
    ca: String,
    desk: Arc<Desk>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address can't be listened at.
    #[error("cannot listen at {address} ({source}): choose another address, or port 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Sandbox {
    /// Starts a sandbox in tasks of the current runtime.
    ///
    /// # Errors
    /// The address is taken, or the certificate can't be read, made or kept.
    #[expect(clippy::unused_async, reason = "it needs a runtime, which only an async caller has for certain")]
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let dir = options.dir.as_deref();
        let certificate = Certificate::in_dir(dir)?;
        let acceptor = TlsAcceptor::from(certificate.server_config(dir)?);
        let refused = |source| SandboxError::Listen { address: options.bind, source };
        let listener = listen(options.bind).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let desk = Arc::new(Desk::default());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(line::accept(listener, acceptor, desk::router(&desk), stop.clone(), tasks.clone()));
        tasks.close();
        Ok(Self { address, ca: certificate.ca, desk, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The authority to trust, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca
    }

    /// What was counted so far.
    #[must_use]
    pub fn calls(&self) -> CallsSnapshot {
        self.desk.snapshot()
    }

    /// Ends what it has accepted for a caller, in this status.
    pub fn end(&self, caller: &str, status: &str) {
        self.desk.end(caller, status);
    }

    /// Closes every connection, hanging ones too, and waits until they are gone.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
