//! Tests of publishing many commands from a file: checked before, a window of them under way, and
//! reported to the last one when it is cut short.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{ExchangeKind, options::ConfirmSelectOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::operator_bench::{CommandResult, OperatorBench};
use crate::harness::daemon::DaemonFolder;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;

const QUEUE: &str = "ferry.commands.stripe";
const SOON: Duration = Duration::from_mins(1);

/// A provider with a schema for its payloads.
const STRIPE: &str = r#"
name = "stripe"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
[operations.charge]
request = { method = "POST", path = "/charge" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
payload = { type = "object", required = ["amount"], properties = { amount = { type = "integer" } } }
"#;

/// Commands as JSON lines.
fn commands(count: usize) -> String {
    let mut text = String::new();
    for number in 1..=count {
        let command = format!(
            r#"{{"id":"order-{number}","type":"payment","provider":"stripe","operation":"charge","payload":{{"amount":{number}}}}}"#
        );
        writeln!(text, "{command}").unwrap();
    }
    text
}

/// The ids that a publication printed.
fn printed(ended: &CommandResult) -> HashSet<String> {
    ended.out.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The ids that are named with their lines in a line of the standard error which begins so.
fn named(ended: &CommandResult, start: &str) -> Vec<String> {
    let line =
        ended.err.lines().find_map(|line| line.strip_prefix("ferryd: ")?.strip_prefix(start));
    line.into_iter()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_command_that_could_not_be_carried_out_is_refused_with_its_line_before_any_is_published()
{
    let bench = OperatorBench::new().await;
    let setup = DaemonFolder::new(&bench.vhost.uri(), "").provider("stripe", STRIPE);
    let wrong = commands(3)
        + "{\"id\":\"w-1\",\"type\":\"payment\",\"provider\":\"stripe\",\"operation\":\"charge\",\"payload\":{\"amount\":1.5}}\n\
           {\"id\":\"w-2\",\"type\":\"payment\",\"provider\":\"stripe\",\"operation\":\"chrage\",\"payload\":{\"amount\":1}}\n\
           {\"id\":\"w-3\",\"type\":\"payment\",\"provider\":\"strip\",\"operation\":\"charge\",\"payload\":{\"amount\":1}}\n\
           {\"id\":\"w-4\",\"type\":\"payment\",\"provider\":\"stripe\",\"account\":\"eu\",\"operation\":\"charge\",\"payload\":{\"amount\":1}}\n\
           {\"id\":\"w-5\",\"type\":\"payment\",\"operation\":\"charge\",\"payload\":{\"amount\":1}}\n\
           {\"id\":\"w-6\",\"type\":\"payment\",\"provider\":\"stripe\",\"operation\":\"charge\",\"payload\":{\"amount\":1,\"amount\":2}}\n";
    let setup = setup.file("orders.jsonl", &wrong);
    let publish = async |more: &[&str]| {
        let mut command = setup.command(&[&["publish", "--file", "orders.jsonl"], more].concat());
        CommandResult::from(
            tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap(),
        )
    };
    let ended = publish(&[]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    let lines: Vec<_> = ended.err.lines().collect();
    for (line, expected) in lines.iter().zip([
        "nothing was published: orders.jsonl, line 4: command `w-1`: payload.amount: value is not of type \"integer\" (it is 1.5) (invalid_payload)",
        "orders.jsonl, line 5: command `w-2`: provider `stripe` has no operation `chrage`; it has charge (unknown_operation)",
        "orders.jsonl, line 6: command `w-3`: no file here describes the provider `strip`; there are stripe (unknown_provider)",
        "orders.jsonl, line 7: command `w-4`: provider `stripe` has no account `eu` (unknown_account)",
        "orders.jsonl, line 8: command `w-5`: no route says which provider takes commands of type `payment`; name a `provider`, or write the route (no_route)",
        "orders.jsonl, line 9: command `w-6`: the field `amount` is there twice",
    ]) {
        assert!(line.strip_prefix("ferryd: ").unwrap_or(line).starts_with(expected), "{line}\n{expected}");
    }
    assert_eq!(lines.len(), 6, "{ended:?}");
    assert_eq!(bench.broker.depth(QUEUE).await, Some(0));
    let ended = publish(&["--unchecked"]).await;
    assert_eq!((ended.code, printed(&ended).len()), (Some(0), 9), "{ended:?}");
}

#[tokio::test]
async fn commands_that_no_queue_takes_are_reported_apart_from_the_many_that_are_under_way_with_them()
 {
    let bench = OperatorBench::bare().await;
    let channel = bench.broker.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(
            "ferry.commands".into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, quorum).await.unwrap();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(QUEUE.into(), "ferry.commands".into(), "payment.stripe.#".into(), options, none)
        .await
        .unwrap();

    let lines = commands(1_000);
    let lines: Vec<_> = lines
        .lines()
        .enumerate()
        .map(|(place, line)| {
            if [499, 501].contains(&place) {
                line.replace("stripe", "nosuch")
            } else {
                line.to_owned()
            }
        })
        .collect();
    let ended =
        bench.ferryd_reading(&["publish", "--file", "-", "--unchecked"], &lines.join("\n")).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(named(&ended, "the broker did not take "), ["order-500", "order-502"], "{ended:?}");
    assert!(ended.err.contains("led key `payment.nosuch.charge` to no queue"), "{ended:?}");
    assert_eq!(named(&ended, "perhaps published"), [""; 0], "{ended:?}");
    let (published, there) = (printed(&ended), bench.ids(QUEUE).await);
    assert_eq!(there.len(), published.len(), "each is published once");
    assert_eq!(
        there.into_iter().collect::<HashSet<_>>(),
        published,
        "what is said to be published is, and nothing else"
    );
    assert!(
        published.len() >= 500
            && !published.contains("order-500")
            && !published.contains("order-502")
    );
}

/// Publishes many commands through a proxy, and does something once some are published. Returns
/// what it ended with and the ids that are in the queue.
async fn cut_short(
    bench: &OperatorBench,
    stop: impl AsyncFnOnce(&TcpProxy, Pid),
) -> (CommandResult, Vec<String>) {
    let proxy = TcpProxy::to(bench.vhost.address());
    let setup =
        DaemonFolder::new(&bench.vhost.uri_at(proxy.address()), "").provider("stripe", STRIPE);
    let setup = setup.file("orders.jsonl", &commands(60_000));
    let mut command = setup.command(&["publish", "--file", "orders.jsonl"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let begun = async || bench.broker.depth(QUEUE).await.filter(|depth| *depth > 1_000);
    eventually(SOON, "some are published", begun).await;
    stop(&proxy, pid).await;
    let ended = CommandResult::from(ended.await.unwrap());
    (ended, bench.ids(QUEUE).await)
}

#[tokio::test]
async fn when_the_broker_goes_away_in_the_middle_it_says_what_was_published_and_what_perhaps_was() {
    let bench = OperatorBench::new().await;
    let (ended, there) = cut_short(&bench, async |proxy, _| proxy.refuse().await).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let published = printed(&ended);
    let first = ended.err.lines().next().unwrap();
    assert!(
        first.starts_with(&format!(
            "ferryd: {} of 60000 commands were published, then: ",
            published.len()
        )),
        "{first}"
    );
    assert!(
        ended.err.contains("to go on, publish the same again: every command has an `id`"),
        "{}",
        ended.err
    );
    let there: HashSet<_> = there.into_iter().collect();
    assert!(published.is_subset(&there), "what is said to be published is");
    // Names some of them where there are many.
    let unclear = there.len() - published.len();
    assert!(unclear <= 200, "{unclear} were under way");
    let named = named(&ended, "perhaps published, but not confirmed: ");
    assert!(named.len() >= unclear.min(20), "{unclear} are there: {named:?}");
    assert!(named.iter().all(|id| !published.contains(id)));
}

#[tokio::test]
async fn an_interrupt_ends_it_in_order_and_says_how_to_go_on() {
    let bench = OperatorBench::new().await;
    let (ended, there) = cut_short(&bench, async |_, pid| kill(pid, Signal::SIGINT).unwrap()).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let published = printed(&ended);
    let first = ended.err.lines().next().unwrap();
    let expected = format!(
        "ferryd: {} of 60000 commands were published, then: it was interrupted",
        published.len()
    );
    assert_eq!(first, expected);
    assert_eq!(
        there.into_iter().collect::<HashSet<_>>(),
        published,
        "what was under way was waited for"
    );
}

/// Measures how fast a file is published:
/// `cargo test --release --test it -- --ignored --nocapture a_file_is_published_at`.
#[tokio::test]
#[ignore = "measures"]
async fn a_file_is_published_at_more_than_five_thousand_commands_a_second() {
    const COUNT: u32 = 100_000;
    let bench = OperatorBench::new().await;
    let setup = DaemonFolder::new(&bench.vhost.uri(), "")
        .provider("stripe", STRIPE)
        .file("orders.jsonl", &commands(COUNT as usize));
    let mut command = setup.command(&["publish", "--file", "orders.jsonl"]);
    let clock = Instant::now();
    let ended = CommandResult::from(
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap(),
    );
    let took = clock.elapsed();
    assert_eq!((ended.code, printed(&ended).len()), (Some(0), COUNT as usize), "{}", ended.err);
    let rate = f64::from(COUNT) / took.as_secs_f64();
    println!("{COUNT} commands published in {took:.1?}, start and checks included: {rate:.0}/s");
    assert!(rate >= 5_000.0);
}
