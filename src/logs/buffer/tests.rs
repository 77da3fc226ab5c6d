//! A unit's tail in memory: bounded by bytes, oldest out first, nothing before the first line.

use proptest::prelude::*;

use super::*;

fn mark(seq: u64) -> Mark {
    Mark { wall_us: 7, seq, pid: Some(3), stream: Stream::Stderr }
}

fn tail(max: u64) -> Tail {
    let mut tail = Tail::default();
    tail.set_max(max);
    tail
}

proptest! {
    #[test]
    fn what_is_kept_is_the_end_of_what_was_said_and_within_the_bound(
        max in 0..5000u64,
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..80),
    ) {
        let mut tail = tail(max);
        let mut said = Vec::new();
        for (seq, line) in (0..).zip(&lines) {
            tail.push(mark(seq), line);
            prop_assert!(tail.bytes() as u64 <= max.max(1));
            if (line.len() + HEADER) as u64 <= max {
                said.push((seq, line.clone()));
            }
        }
        let kept: Vec<_> = tail.last(1000).iter().map(|e| (e.mark.seq, e.text.to_vec())).collect();
        prop_assert!(said.ends_with(&kept));
        prop_assert_eq!(kept.is_empty(), said.is_empty());
        let two: Vec<_> = tail.last(2).iter().map(|e| (e.mark.seq, e.text.to_vec())).collect();
        prop_assert!(kept.ends_with(&two) && two.len() == kept.len().min(2));
    }
}

#[test]
fn a_unit_that_said_nothing_costs_nothing_and_one_line_costs_little() {
    let mut tail = tail(256 << 10);
    assert_eq!((tail.bytes(), tail.segments.capacity()), (0, 0));
    tail.push(mark(1), b"started");
    assert!(tail.bytes() < 100, "{}", tail.bytes());
}

#[test]
fn most_of_a_full_buffer_is_in_use() {
    let mut tail = tail(256 << 10);
    for seq in 0..20_000 {
        tail.push(mark(seq), &[b'x'; 75]);
    }
    let kept = tail.last(usize::MAX).len() * 100;
    assert!(kept > 200 << 10, "{kept}");
}

#[test]
fn a_line_comes_back_as_it_was() {
    let mut tail = tail(4096);
    let mark = Mark { wall_us: -1, seq: u64::MAX, pid: None, stream: Stream::Svinit };
    tail.push(mark, b"a\0\xff");
    assert_eq!(tail.last(9), [Entry { mark, text: b"a\0\xff" }]);
}

#[test]
fn lines_of_several_units_come_in_the_order_of_time() {
    let (mut a, mut b) = (tail(4096), tail(4096));
    a.push(mark(1), b"a1");
    b.push(mark(2), b"b1");
    a.push(mark(3), b"a2");
    a.push(mark(3), b"a3");
    b.push(mark(4), b"b2");
    let all = merge(vec![("a", a.last(4)), ("b", b.last(4))], 4);
    let texts: Vec<_> = all.iter().map(|(_, e)| e.text).collect();
    assert_eq!(texts, [&b"b1"[..], b"a2", b"a3", b"b2"]);
}

#[test]
fn the_largest_gives_way_when_all_together_are_too_much() {
    let (mut a, mut b) = (tail(64 << 10), tail(64 << 10));
    for seq in 0..400 {
        a.push(mark(seq), &[b'a'; 100]);
    }
    b.push(mark(1), b"one line");
    let before = a.bytes();
    squeeze([&mut a, &mut b].into_iter(), 10_000);
    assert!(a.bytes() + 10_000 <= before && b.last(9).len() == 1);
}
