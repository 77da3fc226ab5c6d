//! When a file is rotated and which rotated ones go: decisions only, no disk.

use proptest::prelude::*;

use super::*;

const RULE: Rotation = Rotation { max_size: 10, max_age_us: 1_000_000, keep: 2, compress: true };

fn file(second: i64, form: Form) -> Rotated {
    Rotated { stamp: stamp_of(second * 1_000_000), form }
}

#[test]
fn a_file_takes_whole_lines_up_to_its_size() {
    assert_eq!(RULE.fitting(0, b"abc\ndef\n"), 8);
    assert_eq!(RULE.fitting(2, b"abc\ndef\n"), 8);
    assert_eq!(RULE.fitting(3, b"abc\ndef\n"), 4);
    assert_eq!(RULE.fitting(9, b"abc\ndef\n"), 0);
    assert_eq!(RULE.fitting(20, b"abc\n"), 0);
}

#[test]
fn a_line_larger_than_a_file_goes_into_an_empty_one_alone() {
    assert_eq!(RULE.fitting(0, b"0123456789ab\ndef\n"), 13);
    assert_eq!(RULE.fitting(1, b"0123456789ab\ndef\n"), 0);
}

#[test]
fn without_a_size_everything_fits() {
    assert_eq!(Rotation { max_size: 0, ..RULE }.fitting(u64::MAX, b"abc\n"), 4);
}

proptest! {
    #[test]
    fn no_file_is_larger_than_its_bound_but_for_one_line(
        lens in prop::collection::vec(1..15usize, 1..40), size in 0..12u64,
    ) {
        let lines: Vec<u8> = lens.iter().flat_map(|n| [vec![b'x'; n - 1], vec![b'\n']].concat()).collect();
        let (mut size, mut rest, mut turns) = (size, &lines[..], 0);
        while !rest.is_empty() {
            let n = RULE.fitting(size, rest);
            if n == 0 {
                prop_assert!(size > 0);
                size = 0;
            }
            size += n as u64;
            prop_assert!(n == 0 || rest[n - 1] == b'\n');
            prop_assert!(n == 0 || size <= RULE.max_size || rest[..n].iter().filter(|b| **b == b'\n').count() == 1);
            rest = &rest[n..];
            turns += 1;
            prop_assert!(turns < 200);
        }
    }
}

#[test]
fn age_counts_only_for_a_file_with_something_in_it() {
    assert!(RULE.is_old(1, 0, 1_000_000));
    assert!(!RULE.is_old(0, 0, 1_000_000));
    assert!(!RULE.is_old(1, 0, 999_999));
    assert!(!Rotation { max_age_us: 0, ..RULE }.is_old(1, 0, i64::MAX));
}

#[test]
fn the_newest_stay_and_what_is_old_goes() {
    let rule = Rotation { max_age_us: 0, ..RULE };
    let files = vec![file(1, Form::Gzip), file(3, Form::Plain), file(2, Form::Gzip)];
    assert_eq!(rule.surplus(files.clone(), 0), [file(1, Form::Gzip)]);
    assert_eq!(RULE.surplus(files, 3_500_000), [file(2, Form::Gzip), file(1, Form::Gzip)]);
}

#[test]
fn what_a_crash_left_of_a_compression_goes() {
    let rule = Rotation { max_age_us: 0, keep: 9, ..RULE };
    let half = vec![file(1, Form::Plain), file(1, Form::Unfinished)];
    assert_eq!(rule.surplus(half, 0), [file(1, Form::Unfinished)]);
    let whole = vec![file(1, Form::Plain), file(1, Form::Gzip)];
    assert_eq!(rule.surplus(whole, 0), [file(1, Form::Plain)]);
}

#[test]
fn only_our_own_names_are_ours() {
    let rotated = file(1_795_233_858, Form::Gzip);
    let name = rotated.name("app.log");
    assert_eq!(name, "app.log.2026-11-21T04-04-18.000000Z.gz");
    assert_eq!(Rotated::parse("app.log", &name), Some(rotated));
    for other in
        ["app.log", "app.log.bak", "app.log.1", "app.log.2026-11-21T04-04-18.000000Z.zip", "xapp.log.1.gz"]
    {
        assert_eq!(Rotated::parse("app.log", other), None, "{other}");
    }
}
