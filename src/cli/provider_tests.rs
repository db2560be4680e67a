use super::*;
use crate::cli::fixture;

#[test]
fn a_provider_is_shown_with_its_real_schedules_and_no_secret() {
    let printed =
        fixture::printed(|out| DescribedProvider::new(&fixture::payments()).print(out).unwrap());
    assert!(!printed.contains("hunter2"), "{printed}");
    insta::assert_snapshot!(printed);
}

#[test]
fn a_provider_is_described_to_machines() {
    insta::assert_json_snapshot!(DescribedProvider::new(&fixture::messages()));
}

#[test]
fn a_schedule_is_cut_where_commands_are_given_up() {
    let policy = RetryPolicy { give_up_after: Duration::from_mins(10), ..RetryPolicy::default() };
    let schedule = RetrySchedule::of(&policy);
    assert_eq!(schedule.delays, ["5s", "30s", "2m"]);
    assert_eq!((schedule.attempts, schedule.span.as_str()), (4, "2m 35s"));
}

#[test]
fn delays_between_the_queues_are_shown_as_they_really_are() {
    let policy = RetryPolicy {
        schedule: vec![Duration::from_secs(7), Duration::from_mins(3)],
        ..RetryPolicy::default()
    };
    assert_eq!(RetrySchedule::of(&policy).delays, ["15s", "5m"]);
}
