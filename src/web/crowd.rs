//! How many connections one address has, so that a few clients can't keep all others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Network, masked};

/// The bits of an IPv6 address that one client has at least: everything in a /64 is one.
const IPV6_CLIENT: u8 = 64;

/// Counts connections by address.
pub(super) struct Crowd {
    most: usize,
    exempt: Vec<Network>,
    present: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection; dropping it makes room for another.
pub(super) struct Place(Option<(Arc<Crowd>, IpAddr)>);

impl Crowd {
    /// At most so many connections of one address, unless it is in one of the `exempt` networks.
    pub(super) fn new(most: usize, exempt: Vec<Network>) -> Self {
        Self { most, exempt, present: Mutex::default() }
    }

    /// A place for one more connection of an address; `None` where it has too many. Without a crowd there is always one.
    pub(super) fn enter(crowd: Option<&Arc<Self>>, address: IpAddr) -> Option<Place> {
        let Some(crowd) = crowd.filter(|crowd| !crowd.exempt.iter().any(|network| network.contains(address))) else {
            return Some(Place(None));
        };
        let client = client(address);
        let mut present = crowd.present.lock().unwrap_or_else(PoisonError::into_inner);
        let count = present.entry(client).or_default();
        if *count >= crowd.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(crowd), client))))
    }
}

/// What stands for everything that one client can connect from.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        address @ IpAddr::V6(_) => masked(address, IPV6_CLIENT),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((crowd, client)) = self.0.take() else { return };
        let mut present = crowd.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = present.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                present.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_places_as_it_may_and_a_trusted_one_as_many_as_it_likes() {
        let crowd = Arc::new(Crowd::new(2, vec!["10.0.0.0/8".parse().unwrap()]));
        let enter = |text: &str| Crowd::enter(Some(&crowd), text.parse().unwrap());
        let mut places: Vec<_> =
            ["192.0.2.1", "::ffff:192.0.2.1"].map(enter).into_iter().collect::<Option<_>>().unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        places.pop();
        assert!(enter("192.0.2.1").is_some());
        let network = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(enter);
        assert_eq!(network.each_ref().map(Option::is_some), [true, true, false, true]);
        let proxy: Vec<_> = (0..5).map(|_| enter("10.1.2.3")).collect();
        assert!(proxy.iter().all(Option::is_some));
        drop((places, network));
        assert!(crowd.present.lock().unwrap().is_empty());
    }

    #[test]
    fn without_a_crowd_there_is_always_a_place() {
        assert!(Crowd::enter(None, "192.0.2.1".parse().unwrap()).is_some());
    }
}
