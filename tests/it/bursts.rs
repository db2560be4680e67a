//! Tests many clients of the API at one moment, from one address.

use futures_util::future::join_all;

use crate::api_client::TestClient;
use crate::rig::{SOON, TestRig};

/// The numbers of clients in a burst: more than an address's share of the connections, and nearly
/// all connections.
const BURSTS: [usize; 2] = [300, 500];

#[tokio::test]
async fn a_burst_of_clients_from_one_address_is_answered_to_the_last() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let nobody = TestClient::without_token(&daemon).await;
    for count in BURSTS {
        for (client, path, status) in [
            (&nobody, "/livez", 200),
            (&client, "/v1/commands", 200),
            (&nobody, "/v1/commands", 401),
        ] {
            let asking = (0..count).map(|_| client.try_ask("GET", path, ""));
            let answers = tokio::time::timeout(SOON, join_all(asking))
                .await
                .expect("all are answered in time");
            let answered =
                answers.iter().flatten().filter(|answer| answer.status == status).count();
            assert_eq!(answered, count, "{path}");
        }
    }
    assert_eq!(nobody.get("/livez").await.status, 200);
    let refused = daemon.logs(|line| line["message"] == "failed to accept a connection to the API");
    assert!(refused.is_empty(), "{refused:?}");
}
