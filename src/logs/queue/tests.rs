//! What waits for a blocked reader: in the order of time, within each unit's share, held or dropped by its rule.

use proptest::prelude::*;

use super::*;

fn chunk(text: &str) -> Chunk {
    Chunk { bytes: text.as_bytes().to_vec(), lines: 1, out: 0 }
}

fn large(n: usize) -> Chunk {
    Chunk { bytes: vec![b'x'; n], lines: 1, out: 0 }
}

fn texts(queue: &mut Queue) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(batch) = queue.take(1) {
        for (name, lines) in batch.missing {
            out.push(format!("{name} misses {lines}"));
        }
        out.extend(batch.chunks.into_iter().map(|(_, chunk)| String::from_utf8(chunk.bytes).unwrap()));
    }
    out
}

fn queue(policy: WhenBlocked) -> (Queue, SourceId, SourceId) {
    let mut queue = Queue::new(1 << 20);
    let a = queue.add("a".into(), 0, policy);
    let b = queue.add("b".into(), 0, policy);
    (queue, a, b)
}

#[test]
fn chunks_come_in_the_order_of_time() {
    let (mut queue, a, b) = queue(WhenBlocked::Block);
    for (id, text) in [(a, "1\n"), (b, "2\n"), (a, "3\n"), (a, "4\n"), (b, "5\n")] {
        assert_eq!(queue.push(id, chunk(text)), Room::Left);
    }
    assert_eq!(texts(&mut queue), ["1\n", "2\n", "3\n4\n", "5\n"]);
    assert!(queue.is_empty() && queue.waiting() == 0);
}

#[test]
fn a_batch_is_for_one_destination() {
    let (mut queue, a, b) = queue(WhenBlocked::Block);
    queue.push(a, chunk("out\n"));
    queue.push(b, Chunk { out: 1, ..chunk("err\n") });
    let first = queue.take(usize::MAX).unwrap();
    assert_eq!((first.out, first.chunks.len()), (0, 1));
    assert_eq!(queue.take(usize::MAX).unwrap().out, 1);
}

#[test]
fn a_unit_that_blocks_is_held_until_half_of_its_share_is_free() {
    let (mut queue, a, b) = queue(WhenBlocked::Block);
    for _ in 0..3 {
        assert_eq!(queue.push(a, large(4000)), Room::Left);
    }
    assert_eq!(queue.push(a, large(6000)), Room::Full);
    assert_eq!(queue.push(b, large(1)), Room::Left);
    assert!(queue.is_held(a) && !queue.is_held(b) && !queue.release());
    queue.take(1);
    assert!(!queue.release());
    queue.take(4001);
    assert!(queue.release() && !queue.is_held(a));
}

#[test]
fn a_unit_that_drops_loses_its_oldest_and_only_its_own() {
    let (mut queue, a, b) = queue(WhenBlocked::DropOldest);
    queue.push(a, chunk("being written\n"));
    queue.take(1);
    queue.push(b, chunk("b\n"));
    for n in 0..10 {
        let mut bytes = format!("{n}\n").into_bytes();
        bytes.resize(5000, b'.');
        assert_eq!(queue.push(a, Chunk { bytes, lines: 2, out: 0 }), Room::Left);
    }
    let texts = texts(&mut queue);
    let starts: Vec<_> = texts.iter().map(|text| text.lines().next().unwrap()).collect();
    assert_eq!(starts, ["b", "a misses 14", "7", "8", "9"]);
    assert_eq!((queue.missing(a), queue.missing(b)), (14, 0));
}

#[test]
fn a_unit_that_drops_waits_for_a_writer_that_has_not_begun() {
    let (mut queue, a, _) = queue(WhenBlocked::DropOldest);
    for _ in 0..3 {
        assert_eq!(queue.push(a, large(5000)), Room::Left);
    }
    assert_eq!(queue.push(a, large(5000)), Room::Full);
    queue.take(1);
    assert!(queue.release() && queue.missing(a) == 0);
    assert_eq!(queue.push(a, large(5000)), Room::Left);
    assert_eq!((queue.push(a, large(5000)), queue.missing(a)), (Room::Left, 2));
}

#[test]
fn all_units_together_stay_within_the_total() {
    let mut queue = Queue::new(0);
    let most = 4 * SHARE_MIN;
    let ids: Vec<_> =
        (0..20).map(|n| queue.add(format!("{n}").into(), 1 << 20, WhenBlocked::DropOldest)).collect();
    queue.push(ids[0], large(10));
    queue.take(1);
    for _ in 0..10 {
        for id in &ids {
            queue.push(*id, large(3000));
            assert!(queue.waiting() <= most);
        }
    }
    let kept = texts(&mut queue).iter().filter(|text| text.starts_with('x')).count() as u64;
    assert_eq!(kept + ids.iter().map(|id| queue.missing(*id)).sum::<u64>(), 200);
}

#[test]
fn what_could_not_be_written_comes_first_when_it_is_mended() {
    let (mut queue, a, b) = queue(WhenBlocked::Block);
    queue.push(a, chunk("1\n"));
    queue.push(b, chunk("b\n"));
    queue.push(a, large(5000));
    let mut batch = queue.take(1).unwrap();
    let (id, first) = batch.chunks.remove(0);
    queue.give_back(id, first);
    assert_eq!(texts(&mut queue), ["b\n"]);
    assert!(!queue.is_empty());
    for _ in 0..10 {
        assert_eq!(queue.push(a, large(5000)), Room::Left);
    }
    assert!(queue.missing(a) > 0);
    queue.mend(a);
    assert_eq!(texts(&mut queue).len(), 4);
    assert!(queue.is_empty() && queue.waiting() == 0);
}

#[test]
fn a_unit_that_leaves_is_written_to_its_end_and_its_place_is_used_again() {
    let (mut queue, a, _) = queue(WhenBlocked::Block);
    queue.push(a, chunk("last\n"));
    queue.remove(a);
    let c = queue.add("c".into(), 0, WhenBlocked::Block);
    assert_ne!(a, c);
    assert_eq!(texts(&mut queue), ["last\n"]);
    assert_eq!(queue.add("d".into(), 0, WhenBlocked::Block), a);
}

proptest! {
    #[test]
    fn each_line_is_written_once_or_counted(
        ops in prop::collection::vec((0..8u8, 0..3usize, 1..9000usize), 1..120),
        policies in prop::collection::vec(any::<bool>(), 3),
    ) {
        let mut queue = Queue::new(0);
        let ids: Vec<_> = policies.iter().map(|block| {
            queue.add("u".into(), 0, if *block { WhenBlocked::Block } else { WhenBlocked::DropOldest })
        }).collect();
        let (mut pushed, mut next) = ([0_u64; 3], [0_u64; 3]);
        let mut last = [0_u64; 3];
        let mut written = [0_u64; 3];
        let read = |chunk: &Chunk| -> Vec<u64> {
            chunk.bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty())
                .map(|l| std::str::from_utf8(l).unwrap().trim().parse().unwrap()).collect()
        };
        for (op, unit, size) in ops {
            match op {
                0..=4 => {
                    next[unit] += 1;
                    pushed[unit] += 1;
                    let text = format!("{:>size$}\n", next[unit]);
                    queue.push(ids[unit], chunk(&text));
                }
                5 => {
                    if let Some(batch) = queue.take(1) {
                        for (id, chunk) in batch.chunks.into_iter().rev() {
                            queue.give_back(id, chunk);
                        }
                    }
                }
                6 => ids.iter().for_each(|id| queue.mend(*id)),
                _ => {
                    if let Some(batch) = queue.take(size) {
                        for (id, chunk) in batch.chunks {
                            for n in read(&chunk) {
                                prop_assert!(n > last[id]);
                                last[id] = n;
                                written[id] += 1;
                            }
                        }
                    }
                }
            }
            queue.release();
        }
        ids.iter().for_each(|id| queue.mend(*id));
        while let Some(batch) = queue.take(usize::MAX) {
            for (id, chunk) in batch.chunks {
                for n in read(&chunk) {
                    prop_assert!(n > last[id]);
                    last[id] = n;
                    written[id] += 1;
                }
            }
        }
        for id in ids {
            prop_assert_eq!(written[id] + queue.missing(id), pushed[id]);
        }
        prop_assert_eq!(queue.waiting(), 0);
    }
}
