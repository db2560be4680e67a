//! Limits the connections of one address, so that a few clients can't keep all others out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::network::{IpNetwork, first_of_network};

/// The prefix length of an IPv6 client: all addresses of a /64 count as one client.
const IPV6_CLIENT: u8 = 64;

/// The divisor of one address's share: at most a quarter of all connections, new ones not counted.
const SHARE: usize = 4;

/// The time for which a connection is new. The first bytes of its client may be on their way, so a
/// new connection gives way only where all places are taken.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// The shortest time that a new connection is kept, even where all places are taken.
const SHORTEST_STAY: Duration = Duration::from_millis(100);

/// Returns true if no bytes from a client wait to be read.
type SilenceCheck = Box<dyn Fn() -> bool + Send>;

/// The connection that gives way where an address has more than its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// The connection that is just made.
    Newest,
    /// The oldest one on which no request is being answered and none waits to be read. A client
    /// that only holds connections can't keep out clients that use theirs, not even from the same
    /// address; no request of a burst is lost.
    OldestIdle,
}

/// Counts the unauthorised connections by address.
pub struct ConnectionLimiter {
    /// The most unauthorised connections of one address.
    share: usize,
    gives_way: EvictionPolicy,
    /// The networks whose addresses may hold every connection.
    exempt: Vec<IpNetwork>,
    pending: Mutex<PendingConnections>,
}

#[derive(Default)]
struct PendingConnections {
    /// The number of the next connection.
    next: u64,
    /// Every unauthorised connection that is not exempt, the oldest first.
    all: BTreeMap<u64, PendingConnection>,
    /// The number of unauthorised connections of each client.
    counts: HashMap<IpAddr, usize>,
}

struct PendingConnection {
    client: IpAddr,
    since: Instant,
    is_silent: SilenceCheck,
    /// The number of requests on the connection that are being answered.
    requests: usize,
    /// True after a request on the connection was answered.
    was_answered: bool,
    close: CancellationToken,
}

impl PendingConnection {
    /// Returns true if the connection can be closed without losing a request.
    fn is_idle(&self) -> bool {
        self.requests == 0 && (self.was_answered || (self.is_silent)())
    }
}

/// The place of one connection. Dropping the place makes room for another connection.
pub struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    close: CancellationToken,
}

/// A request that is being answered; the request ends when this value is dropped.
pub struct RequestUnderWay(Arc<ConnectionPermit>);

impl ConnectionLimiter {
    /// Makes a limiter for so many connections in all.
    #[must_use]
    pub fn new(connections: usize, gives_way: EvictionPolicy, exempt: Vec<IpNetwork>) -> Self {
        Self { share: (connections / SHARE).max(1), gives_way, exempt, pending: Mutex::default() }
    }

    /// Finds a place for a new connection of an address; `None` if the new connection has to give
    /// way.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        is_silent: impl Fn() -> bool + Send + 'static,
    ) -> Option<ConnectionPermit> {
        let (client, close, since) = (client(address), CancellationToken::new(), Instant::now());
        let mut pending = self.lock();
        let number = pending.next;
        pending.next += 1;
        if !self.exempt.iter().any(|network| network.contains(address)) {
            let has_its_share = |pending: &PendingConnections| pending.count(client) >= self.share;
            match self.gives_way {
                EvictionPolicy::Newest if has_its_share(&pending) => return None,
                EvictionPolicy::Newest => {}
                EvictionPolicy::OldestIdle => {
                    let is_old = |connection: &PendingConnection| {
                        since.duration_since(connection.since) >= GRACE_PERIOD
                    };
                    while has_its_share(&pending) && pending.close_oldest(client, is_old) {}
                }
            }
            let (is_silent, close) = (Box::new(is_silent), close.clone());
            let connection = PendingConnection {
                client,
                since,
                is_silent,
                requests: 0,
                was_answered: false,
                close,
            };
            pending.add(number, connection);
        }
        drop(pending);
        Some(ConnectionPermit { limiter: Arc::clone(self), number, close })
    }

    /// Closes a connection when all places are taken: the oldest idle one of the address with the
    /// most unauthorised connections. Closes none if all connections of that address have a request
    /// or are new.
    pub(super) fn make_room(&self) {
        if self.gives_way == EvictionPolicy::OldestIdle {
            let now = Instant::now();
            let has_stayed = |connection: &PendingConnection| {
                now.duration_since(connection.since) >= SHORTEST_STAY
            };
            let mut pending = self.lock();
            let busiest =
                pending.counts.iter().max_by_key(|(_, count)| **count).map(|(client, _)| *client);
            if let Some(client) = busiest {
                pending.close_oldest(client, has_stayed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingConnections> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingConnections {
    fn add(&mut self, number: u64, connection: PendingConnection) {
        *self.counts.entry(connection.client).or_default() += 1;
        self.all.insert(number, connection);
    }

    fn remove(&mut self, number: u64) -> Option<PendingConnection> {
        let connection = self.all.remove(&number)?;
        if let Some(count) = self.counts.get_mut(&connection.client) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&connection.client);
            }
        }
        Some(connection)
    }

    fn count(&self, client: IpAddr) -> usize {
        self.counts.get(&client).copied().unwrap_or_default()
    }

    /// Closes the oldest idle connection of a client that may be closed; returns false if there is
    /// none.
    fn close_oldest(
        &mut self,
        client: IpAddr,
        may_close: impl Fn(&PendingConnection) -> bool,
    ) -> bool {
        let is_closable = |(_, connection): &(&u64, &PendingConnection)| {
            connection.client == client && may_close(connection) && connection.is_idle()
        };
        let oldest = self.all.iter().find(is_closable).map(|(number, _)| *number);
        let closed = oldest.and_then(|number| self.remove(number));
        closed.inspect(|connection| connection.close.cancel()).is_some()
    }
}

impl ConnectionPermit {
    /// Stops counting the connection, because a request on it had a valid token.
    pub fn authorise(&self) {
        self.limiter.lock().remove(self.number);
    }

    /// Waits until the connection has to give way.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Notes that a request is being answered for as long as the returned value lives.
    pub(super) fn begin_request(self: &Arc<Self>) -> RequestUnderWay {
        if let Some(connection) = self.limiter.lock().all.get_mut(&self.number) {
            connection.requests += 1;
        }
        RequestUnderWay(Arc::clone(self))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.lock().remove(self.number);
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        let Self(place) = self;
        if let Some(connection) = place.limiter.lock().all.get_mut(&place.number) {
            connection.requests = connection.requests.saturating_sub(1);
            connection.was_answered = true;
        }
    }
}

/// The address that stands for all addresses from which one client can connect.
#[must_use]
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        address @ IpAddr::V6(_) => first_of_network(address, IPV6_CLIENT),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn limiter(connections: usize, gives_way: EvictionPolicy) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter::new(
            connections,
            gives_way,
            vec!["10.0.0.0/8".parse().unwrap()],
        ))
    }

    /// Admits a connection on which no bytes wait to be read.
    fn admit(limiter: &Arc<ConnectionLimiter>, address: &str) -> Option<Arc<ConnectionPermit>> {
        limiter.admit(address.parse().unwrap(), || true).map(Arc::new)
    }

    /// Admits a connection whose client has sent bytes that are still unread.
    fn admit_unread(limiter: &Arc<ConnectionLimiter>, address: &str) -> Arc<ConnectionPermit> {
        Arc::new(limiter.admit(address.parse().unwrap(), || false).unwrap())
    }

    fn is_closed(place: &ConnectionPermit) -> bool {
        place.close.is_cancelled()
    }

    #[test]
    fn an_address_has_a_quarter_of_the_connections_and_a_trusted_one_as_many_as_it_likes() {
        let limiter = limiter(8, EvictionPolicy::Newest);
        let enter = |text: &str| admit(&limiter, text);
        let mut places: Vec<_> = ["192.0.2.1", "::ffff:192.0.2.1"]
            .map(enter)
            .into_iter()
            .collect::<Option<_>>()
            .unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        places.pop();
        assert!(enter("192.0.2.1").is_some());
        let network = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(enter);
        assert_eq!(network.each_ref().map(Option::is_some), [true, true, false, true]);
        let proxy: Vec<_> = (0..5).map(|_| enter("10.1.2.3")).collect();
        assert!(proxy.iter().all(Option::is_some));
        limiter.make_room();
        assert!(!is_closed(&places[0]), "no connection that has a place gives way");
        drop((places, network));
        let pending = limiter.lock();
        assert!(pending.all.is_empty() && pending.counts.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_of_an_address_gives_way_to_its_newest() {
        let limiter = limiter(12, EvictionPolicy::OldestIdle);
        let enter = |text: &str| admit(&limiter, text).unwrap();
        let other = enter("192.0.2.9");
        let [answering, authorised, idle, newer] = ["192.0.2.1"; 4].map(|address| {
            let place = enter(address);
            if limiter.lock().next == 3 {
                place.authorise();
            }
            place
        });
        let request = answering.begin_request();
        advance(GRACE_PERIOD).await;
        let newest = enter("192.0.2.1");
        let closed =
            [&answering, &authorised, &idle, &newer, &newest, &other].map(|place| is_closed(place));
        assert_eq!(closed, [false, false, true, false, false, false]);
        drop(request);
        enter("192.0.2.1");
        assert!(is_closed(&answering), "its request is answered");
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_and_those_with_a_request_to_read_stay_where_places_are_left_over() {
        let limiter = limiter(8, EvictionPolicy::OldestIdle);
        let unread: Vec<_> = (0..3).map(|_| admit_unread(&limiter, "192.0.2.1")).collect();
        let silent: Vec<_> = (0..3).map(|_| admit(&limiter, "192.0.2.1").unwrap()).collect();
        assert!(!unread.iter().chain(&silent).any(|place| is_closed(place)), "all of them are new");
        advance(GRACE_PERIOD).await;
        let newest = admit(&limiter, "192.0.2.1").unwrap();
        assert!(
            silent.iter().all(|place| is_closed(place)),
            "of old ones an address has its share"
        );
        assert!(!unread.iter().chain([&newest]).any(|place| is_closed(place)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_answers_requests_everywhere_does_not_give_way() {
        let limiter = limiter(4, EvictionPolicy::OldestIdle);
        let place = admit(&limiter, "192.0.2.1").unwrap();
        let request = place.begin_request();
        advance(GRACE_PERIOD).await;
        let newer = admit(&limiter, "192.0.2.1").unwrap();
        let newer_request = newer.begin_request();
        advance(SHORTEST_STAY).await;
        limiter.make_room();
        assert!(
            !is_closed(&place) && !is_closed(&newer),
            "a new connection waits until one has ended"
        );
        drop(newer_request);
        limiter.make_room();
        assert!(!is_closed(&place) && is_closed(&newer));
        drop(request);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_are_no_places_left_the_address_with_the_most_gives_way() {
        let limiter = limiter(12, EvictionPolicy::OldestIdle);
        let one = admit(&limiter, "192.0.2.1").unwrap();
        let others: Vec<_> = (0..3).map(|_| admit(&limiter, "192.0.2.2").unwrap()).collect();
        limiter.make_room();
        assert!(!others.iter().any(|place| is_closed(place)), "they were made a moment ago");
        advance(SHORTEST_STAY).await;
        limiter.make_room();
        assert!(!is_closed(&one) && is_closed(&others[0]) && !is_closed(&others[1]));
        let unread: Vec<_> = (0..4).map(|_| admit_unread(&limiter, "192.0.2.3")).collect();
        advance(SHORTEST_STAY).await;
        limiter.make_room();
        assert!(
            !unread.iter().chain(&others[1..]).any(|place| is_closed(place)),
            "there are requests to read"
        );
    }
}
