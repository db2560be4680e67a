use super::*;

const LINES: [&str; 6] = [
    r#"{"v":1,"kind":"opened","critical":true,"at":"2026-11-25T12:00:00Z","command":"order-1","data":{"identity":{"command":{"id":"order-1","type":"payment","provider":"stripe","account":"default","operation":"charge","metadata":{}},"content_digest":"c"},"step":{"generation":0,"attempt":1},"fresh":true,"reason":"early","until":"2026-11-25T13:00:00Z"}}"#,
    r#"{"v":1,"kind":"claim_expired","critical":true,"at":"2026-11-25T12:00:01.5Z","command":"order-1","data":{"claim":"0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55.42"}}"#,
    r#"{"v":1,"kind":"settled","critical":false,"at":"2026-11-25T12:00:02Z","command":"order-1","data":{"finished":"0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55.43"}}"#,
    r#"{"v":1,"kind":"marker","critical":false,"at":"2026-11-25T12:00:03Z","data":null}"#,
    r#"{"v":9,"kind":"steps","critical":true,"at":"2026-11-25T12:00:04Z","command":"order-1","data":{}}"#,
    "no JSON",
];

fn reads() -> impl Iterator<Item = PlacedLine> {
    let id = |number| {
        "0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55.1".parse().ok().map(|id| RecordId { number, ..id })
    };
    LINES.iter().zip(1..).map(move |(text, number)| PlacedLine {
        offset: 7,
        id: id(number).filter(|_| *text != "no JSON"),
        text: text.as_bytes().to_vec(),
        line: LedgerLine::decode(text.as_bytes()),
    })
}

#[test]
fn a_record_is_one_aligned_line() {
    let lines: Vec<_> = reads().map(|read| line(&read).unstyled()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn programs_get_the_record_as_it_stands_and_its_place() {
    let all: Vec<_> = reads().map(|read| json(&read)).collect();
    assert_eq!(
        (&all[0]["offset"], &all[0]["kind"], &all[0]["data"]["reason"]),
        (&7.into(), &"opened".into(), &"early".into())
    );
    assert_eq!(all[1]["id"], "0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55.2");
    assert_eq!((&all[5]["unreadable"], &all[5]["id"]), (&"no JSON".into(), &Value::Null));
}
