//! The two forms of the stream, and that no line can pass for another unit's.

use proptest::prelude::*;

use super::*;

fn origin(stream: Stream) -> Origin<'static> {
    Origin { unit: "gunicorn", pid: Some(42), stream, level: None }
}

fn put(format: LogFormat, stream: Stream, text: &[u8]) -> Vec<u8> {
    let mut head = Head::default();
    head.set(format, &mut Stamp::default(), 1_795_233_858_000_123, origin(stream));
    let mut out = Vec::new();
    head.put(&mut out, text, false);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(put(LogFormat::Text, Stream::Stdout, bytes)).unwrap()
}

#[test]
fn a_stamp_is_rfc_3339_with_microseconds() {
    let mut stamp = Stamp::default();
    let mut at = |us: i64| String::from_utf8(stamp.at(us).to_vec()).unwrap();
    assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(at(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
    assert_eq!(at(1_795_233_858_123_456), "2026-11-21T04:04:18.123456Z");
    assert_eq!(at(-5), "1970-01-01T00:00:00.000000Z");
    assert_eq!(at(i64::MAX), "9999-12-31T23:59:59.999999Z");
}

proptest! {
    #[test]
    fn a_stamp_agrees_with_a_calendar(us in 0..STAMP_MAX) {
        let mut stamp = Stamp::default();
        let ours = String::from_utf8(stamp.at(us).to_vec()).unwrap();
        let theirs = jiff::Timestamp::from_microsecond(us.min(253_402_207_200_000_000)).unwrap();
        prop_assume!(us <= 253_402_207_200_000_000);
        prop_assert_eq!(ours, format!("{theirs:.6}"));
    }

    #[test]
    fn json_says_what_serde_would_say(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop_oneof![100 => b' '..=b'~', 1 => any::<u8>()], 0..40),
        "[ -~]{0,40}".prop_map(String::into_bytes),
    ]) {
        let line = put(LogFormat::Json, Stream::Stderr, &bytes);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(value["message"].as_str().unwrap(), String::from_utf8_lossy(&bytes));
        prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    }

    #[test]
    fn no_text_moves_the_cursor_before_its_prefix(bytes in prop::collection::vec(
        prop_oneof![Just(0x1b), Just(b'['), Just(b'm'), Just(b'G'), Just(b'\r'), Just(8), Just(b'3'), any::<u8>()], 0..60)) {
        prop_assume!(!bytes.contains(&b'\n'));
        let line = put(LogFormat::Text, Stream::Stdout, &bytes);
        prop_assert!(line.starts_with(b"gunicorn | "));
        prop_assert!(!line.iter().any(|b| matches!(b, b'\r' | 0x08 | 0x0b | 0x0c)));
        for (at, _) in line.iter().enumerate().filter(|(_, b)| **b == 0x1b) {
            prop_assert!(colour_len(&line[at..]).is_some());
        }
        if is_tame(&bytes) {
            let mut plain = b"gunicorn | ".to_vec();
            plain.extend_from_slice(&bytes);
            plain.push(b'\n');
            prop_assert_eq!(line, plain);
        }
    }
}

#[test]
fn text_carries_the_units_name() {
    assert_eq!(text(b"hello"), "gunicorn | hello\n");
    assert_eq!(text(b""), "gunicorn | \n");
}

#[test]
fn a_lone_return_is_shown_instead_of_sent() {
    assert_eq!(text(b"10%\rnginx | forged"), "gunicorn | 10%\\rnginx | forged\n");
}

#[test]
fn colours_pass_and_cursor_movement_does_not() {
    assert_eq!(
        text(b"\x1b[1;31mred\x1b[0m\x1b[2K\x1b[1Gx"),
        "gunicorn | \x1b[1;31mred\x1b[0m\\x1b[2K\\x1b[1Gx\n"
    );
    assert_eq!(text(b"end\x1b["), "gunicorn | end\\x1b[\n");
}

#[test]
fn json_has_the_words_of_the_wire() {
    let line = String::from_utf8(put(LogFormat::Json, Stream::Stdout, b"a \"b\"\\\0\xff")).unwrap();
    let (ts, rest) = line.split_at(r#"{"ts":"2026-11-21T04:04:18.000123Z""#.len());
    assert!(ts.ends_with(".000123Z\""), "{ts}");
    assert_eq!(
        rest,
        ",\"unit\":\"gunicorn\",\"pid\":42,\"stream\":\"stdout\",\"message\":\"a \\\"b\\\"\\\\\\u0000\u{fffd}\"}\n"
    );
}

#[test]
fn a_part_of_a_long_line_is_marked_in_json() {
    let mut head = Head::default();
    head.set(LogFormat::Json, &mut Stamp::default(), 0, origin(Stream::Stdout));
    let mut out = Vec::new();
    head.put(&mut out, b"x", true);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["partial"], true);
}

#[test]
fn what_svinit_says_about_a_unit_names_both() {
    let mut head = Head::default();
    let mut out = Vec::new();
    head.set(LogFormat::Text, &mut Stamp::default(), 0, origin(Stream::Svinit));
    head.put(&mut out, b"ready after 1.2 s", false);
    head.set(LogFormat::Text, &mut Stamp::default(), 0, Origin { unit: OWN_NAME, ..origin(Stream::Svinit) });
    head.put(&mut out, b"up", false);
    assert_eq!(String::from_utf8(out).unwrap(), "svinit | gunicorn: ready after 1.2 s\nsvinit | up\n");
}

#[test]
fn what_a_terminal_would_obey_is_shown_and_colours_pass() {
    assert_eq!(visible("plain \u{e9}"), "plain \u{e9}");
    assert_eq!(
        visible("\x1b[31mred\x1b[0m a\rb \x1b[2J\u{e9}\x1b]0;t\x07"),
        "\x1b[31mred\x1b[0m a\\rb \\x1b[2J\u{e9}\\x1b]0;t\x07"
    );
}
