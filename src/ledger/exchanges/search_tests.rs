use super::*;

fn window(from: i64, to: i64) -> Window {
    let [from, to] = [from, to].map(|second| Timestamp::from_second(second).unwrap());
    Window { from, to }
}

fn search() -> Search {
    Search::new("ferry.exchanges".into(), &"order-1".parse().unwrap(), Instant::now() + MOST_TIME)
}

fn line(command: &str, at: i64, attempt: u32) -> String {
    let at = Timestamp::from_second(at).unwrap();
    format!(
        r#"{{"at":"{at}","command":"{command}","provider":"acme","operation":"send","generation":0,"attempt":{attempt},"host":"a","request":{{"method":"GET","url":"https://a.example/","headers":{{}}}},"sent":"no","duration_ms":1,"later":"a field of a later version"}}"#
    )
}

#[test]
fn windows_close_to_each_other_are_read_in_one_go() {
    let later = i64::try_from(LATER.as_secs() + EARLIER.as_secs()).unwrap();
    let windows = [window(100_000, 100_010), window(0, 5), window(3, 4), window(5 + later, 900)];
    assert_eq!(merged(&windows), [window(0, 900), window(100_000, 100_010)]);
    assert_eq!(merged(&[]), []);
}

#[test]
fn only_the_commands_own_lines_are_found_and_each_once() {
    let mut search = search();
    let [own, copy, other] = [line("order-1", 50, 1), line("order-1", 50, 1), line("order-11", 50, 1)];
    let longer = line("an-order-1", 50, 1);
    let second = line("order-1", 51, 2);
    let text = [&own, &copy, &other, "no JSON \"command\":\"order-1\"", &longer, &second];
    search.read(text.join("\n").as_bytes(), &window(40, 60));
    search.read(b"\xff", &window(40, 60));
    assert_eq!(search.found.iter().map(|exchange| exchange.attempt).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn calls_of_another_time_are_left_out() {
    let mut search = search();
    search.read(line("order-1", 10_000, 1).as_bytes(), &window(100_000, 100_001));
    assert_eq!(search.found, []);
}
