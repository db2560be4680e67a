use super::*;

fn id(number: u32) -> CommandId {
    format!("0199f3a0-{number}").parse().unwrap()
}

/// Creates a filled filter for an index without commands.
fn filled() -> IdFilter {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE facets (count INTEGER); CREATE TABLE commands (id TEXT)")
        .unwrap();
    let filter = IdFilter::default();
    filter.fill(&conn).unwrap();
    filter
}

#[test]
fn before_it_is_filled_every_id_may_be_in_the_index() {
    let filter = IdFilter::default();
    assert!(filter.is_due() && filter.may_contain(&id(1)));
    assert_eq!(filter.add([id(1)].iter()), [true]);
    let filter = filled();
    assert!(!filter.is_due() && !filter.may_contain(&id(1)));
    filter.clear();
    assert!(filter.is_due() && filter.may_contain(&id(1)));
}

#[test]
fn every_id_that_was_added_is_found_and_few_others() {
    let filter = filled();
    let ids: Vec<_> = (0..100_000).map(id).collect();
    let known = filter.add(ids.iter());
    assert!(known.iter().filter(|known| **known).count() < 100);
    assert!(ids.iter().all(|id| filter.may_contain(id)));
    assert!(filter.add(ids.iter()).iter().all(|known| *known));
    let in_vain = (100_000..200_000).filter(|number| filter.may_contain(&id(*number))).count();
    assert!(in_vain < 100, "{in_vain} of 100,000");
}

#[test]
fn a_full_filter_is_filled_anew_with_more_room_and_never_grows_beyond_its_bound() {
    let mut full = FilledFilter::with_room(0);
    let room = full.blocks.len() * IDS_OF_BLOCK;
    (0..room + room / 10).for_each(|number| _ = full.add(&number.to_string()));
    assert!(full.is_full());
    let in_vain = (0..10_000).filter(|number| full.contains(&format!("x{number}"))).count();
    assert!(in_vain < 600, "{in_vain} of 10,000");
    assert!(!FilledFilter::with_room(room).is_full());
    let mut most = FilledFilter::with_room(usize::MAX / 4);
    assert_eq!(most.blocks.len(), BLOCKS[1]);
    most.added = usize::MAX;
    assert!(!most.is_full());
}
