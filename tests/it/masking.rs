//! Tests of what leaves ferryd: it shows neither secrets nor cards.

use serde_json::json;

use crate::rig::{Rig, SECRET, and, command, dead, word};

#[tokio::test]
async fn what_is_wrong_with_a_command_quotes_neither_secret_nor_card() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let wrong =
        and(command("acme", "charge", "wrong", json!({})), json!({"payload": format!("4111 1111 1111 1111 {SECRET}")}));
    let event = rig.carry(&wrong).await;
    assert_eq!(word(&event, "data.error.kind"), "invalid");
    assert!(word(&event, "data.error.message").contains("*** ***"), "{event:#}");
    let letter = dead(&rig.dead_letters("acme", 1).await.remove(0));
    assert_eq!(letter["message"], event["data"]["error"]["message"]);
    rig.finish(&daemon).await;
    assert!(!daemon.log_text().contains(SECRET));
}
