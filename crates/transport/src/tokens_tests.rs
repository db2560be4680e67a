use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use tokio::time::{advance, sleep, sleep_until};

use super::*;
use ferryd_domain::outcome::RetryAfter;

/// A token endpoint that numbers its tokens, takes a second for each, and can be down.
#[derive(Default)]
struct NumberingEndpoint {
    tokens: TokenCache,
    requests: AtomicUsize,
    lifetime: Option<Duration>,
    down: Mutex<Option<TokenUnavailable>>,
}

impl NumberingEndpoint {
    fn lasting(seconds: u64) -> Self {
        Self { lifetime: Some(Duration::from_secs(seconds)), ..Self::default() }
    }

    fn goes_down(&self, retry_after: Option<u64>) {
        let retry_after = retry_after.map(RetryAfter::Seconds);
        *self.down.lock().unwrap() = Some(TokenUnavailable {
            retry_after,
            ..TokenUnavailable::new("token_unavailable", "down")
        });
    }

    fn comes_up(&self) {
        *self.down.lock().unwrap() = None;
    }

    async fn get(&self) -> Result<Arc<GrantedToken>, TokenUnavailable> {
        let ask = async |_| {
            let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(Duration::from_secs(1)).await;
            match self.down.lock().unwrap().clone() {
                Some(why) => Err(why),
                None => Ok(AccessToken::new(&format!("token-{number}"), self.lifetime).unwrap()),
            }
        };
        self.tokens.get(Instant::now() + Duration::from_secs(10), ask).await
    }

    async fn token(&self) -> String {
        self.get().await.unwrap().access.secret().expose_secret().to_owned()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_that_wait_for_a_token_ask_once() {
    let endpoint = NumberingEndpoint::default();
    let tokens = join_all((0..100).map(|_| endpoint.token())).await;
    assert!(tokens.iter().all(|token| token == "token-1"), "{tokens:?}");
    assert_eq!((endpoint.token().await.as_str(), endpoint.requests()), ("token-1", 1));
}

#[tokio::test(start_paused = true)]
async fn many_calls_share_a_refusal_and_the_pause_after_it() {
    let endpoint = NumberingEndpoint::default();
    endpoint.goes_down(None);
    let refused = join_all((0..100).map(|_| endpoint.get())).await;
    assert!(refused.iter().all(Result::is_err) && endpoint.get().await.is_err());
    assert_eq!(endpoint.requests(), 1);
    advance(PAUSE).await;
    endpoint.comes_up();
    assert_eq!((endpoint.token().await.as_str(), endpoint.requests()), ("token-2", 2));
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_is_left_alone_for_as_long_as_it_wants_within_reason() {
    for (wanted, quiet) in [(30, 30), (86_400, 300)] {
        let endpoint = NumberingEndpoint::default();
        endpoint.goes_down(Some(wanted));
        assert_eq!(
            endpoint.get().await.unwrap_err().retry_after,
            Some(RetryAfter::Seconds(wanted))
        );
        endpoint.comes_up();
        advance(Duration::from_secs(quiet - 1)).await;
        assert_eq!((endpoint.get().await.is_err(), endpoint.requests()), (true, 1), "{wanted}");
        advance(Duration::from_secs(1)).await;
        assert_eq!((endpoint.get().await.is_ok(), endpoint.requests()), (true, 2), "{wanted}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    // The lifetime is counted from the request: the provider's clock may have begun then.
    for (lifetime, renewed_after) in [(3600, 3_540_000), (60, 45_000), (2, 1_500)] {
        let endpoint = NumberingEndpoint::lasting(lifetime);
        let begun = Instant::now();
        endpoint.token().await;
        sleep_until(begun + Duration::from_millis(renewed_after - 1)).await;
        assert_eq!(endpoint.token().await, "token-1", "{lifetime}");
        sleep_until(begun + Duration::from_millis(renewed_after)).await;
        assert_eq!(endpoint.token().await, "token-2", "{lifetime}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_kept_until_it_is_dropped() {
    let endpoint = NumberingEndpoint::default();
    let first = endpoint.get().await.unwrap();
    advance(Duration::from_hours(1000)).await;
    assert_eq!(endpoint.token().await, "token-1");
    endpoint.tokens.drop_token(&first);
    let renewed = join_all((0..10).map(|_| endpoint.token())).await;
    // Other calls notice the same later.
    endpoint.tokens.drop_token(&first);
    assert!(renewed.iter().all(|token| token == "token-2"), "{renewed:?}");
    assert_eq!((endpoint.token().await.as_str(), endpoint.requests()), ("token-2", 2));
    let secrets: Vec<_> =
        endpoint.tokens.secrets().iter().map(|secret| secret.expose_secret().to_owned()).collect();
    assert_eq!(secrets, ["token-2", "token-1"]);
}

#[tokio::test(start_paused = true)]
async fn an_old_token_serves_to_its_end_where_no_new_one_is_granted() {
    let endpoint = NumberingEndpoint::lasting(3600);
    endpoint.token().await;
    endpoint.goes_down(None);
    advance(Duration::from_secs(3545)).await;
    assert_eq!(
        (endpoint.token().await.as_str(), endpoint.token().await.as_str()),
        ("token-1", "token-1")
    );
    assert_eq!(endpoint.requests(), 2);
    advance(Duration::from_mins(1)).await;
    assert!(endpoint.get().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_while_it_requests_a_token_leaves_the_turn_to_the_next() {
    let endpoint = Arc::new(NumberingEndpoint::default());
    let first = tokio::spawn({
        let endpoint = Arc::clone(&endpoint);
        async move { endpoint.token().await }
    });
    let second = endpoint.token();
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!((second.await.as_str(), endpoint.requests()), ("token-2", 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_token_no_longer_than_it_may() {
    let endpoint = NumberingEndpoint::default();
    let impatient =
        endpoint.tokens.get(Instant::now() + Duration::from_millis(100), async |_| unreachable!());
    let (token, none) = tokio::join!(endpoint.token(), impatient);
    assert_eq!(token, "token-1");
    assert_eq!(none.unwrap_err().failure.code.as_deref(), Some("token_unavailable"));
}

/// A token endpoint that does not answer in the time that is left.
async fn hanging(within: Duration) -> Result<AccessToken, TokenUnavailable> {
    sleep(within).await;
    Err(TokenUnavailable::new("token_unavailable", "no answer"))
}

#[tokio::test(start_paused = true)]
async fn while_an_old_token_serves_an_endpoint_that_hangs_holds_up_one_call_and_that_shortly() {
    let endpoint = NumberingEndpoint::lasting(3600);
    endpoint.token().await;
    advance(Duration::from_secs(3545)).await;
    let begun = Instant::now();
    let get = async || {
        let token = endpoint.tokens.get(Instant::now() + Duration::from_secs(20), hanging).await;
        (token.unwrap().access.secret().expose_secret().to_owned(), begun.elapsed())
    };
    let [first, second] = <[_; 2]>::try_from(join_all([get(), get()]).await).unwrap();
    assert_eq!(first, ("token-1".to_owned(), RENEWAL));
    assert_eq!(second, ("token-1".to_owned(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_hurried_call_is_not_everybodys_refusal() {
    let endpoint = NumberingEndpoint::default();
    let hurried = endpoint.tokens.get(Instant::now() + Duration::from_millis(500), hanging);
    let (none, token) = tokio::join!(hurried, endpoint.token());
    assert_eq!((none.is_err(), token.as_str()), (true, "token-1"));
}
