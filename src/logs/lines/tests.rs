//! However the bytes are cut into reads, the same lines come out: none lost, none doubled.

use proptest::prelude::*;

use super::*;

/// What the lines of `bytes` are, said in the simplest way.
fn expected(bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut lines: Vec<(&[u8], bool)> = bytes.split(|b| *b == b'\n').map(|line| (line, true)).collect();
    let last = lines.pop().map_or(&[][..], |(line, _)| line);
    if !last.is_empty() {
        lines.push((last, false));
    }
    let mut out = Vec::new();
    for (line, has_newline) in lines {
        let line = if has_newline { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        if line.is_empty() {
            out.push((Vec::new(), false));
        }
        let count = line.len().div_ceil(PART_MAX);
        out.extend(line.chunks(PART_MAX).enumerate().map(|(i, part)| (part.to_vec(), i + 1 < count)));
    }
    out
}

fn split(bytes: &[u8], cuts: &[usize]) -> Vec<(Vec<u8>, bool)> {
    let mut splitter = Splitter::default();
    let mut out = Vec::new();
    let mut rest = bytes;
    let mut each = |chunk: &[u8], splitter: &mut Splitter| {
        splitter.feed(chunk, |piece| {
            if let Some(at) = piece.at {
                assert_eq!(&chunk[at..at + piece.text.len()], piece.text);
                assert_eq!(chunk[at + piece.text.len()], b'\n');
            }
            out.push((piece.text.to_vec(), piece.goes_on));
        });
        assert!(splitter.half().len() <= PART_MAX + 1);
    };
    for cut in cuts {
        let (now, later) = rest.split_at((*cut).min(rest.len()));
        each(now, &mut splitter);
        rest = later;
    }
    each(rest, &mut splitter);
    splitter.finish(|piece| out.push((piece.text.to_vec(), piece.goes_on)));
    assert!(splitter.half().is_empty());
    out
}

/// Text in which newlines, returns, NULs and lengths around a part are all common.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        3 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => (PART_MAX - 2..PART_MAX + 3).prop_map(|n| vec![b'x'; n]),
        1 => (2 * PART_MAX - 2..2 * PART_MAX + 3).prop_map(|n| vec![b'y'; n]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_chunking_of_the_same_bytes_gives_the_same_lines(
        bytes in hostile(),
        cuts in prop::collection::vec(prop_oneof![0..4usize, 0..40_000usize], 0..30),
    ) {
        prop_assert_eq!(split(&bytes, &cuts), expected(&bytes));
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_lines() {
    let mut bytes = b"a\r\n\nlast \0\xff words".to_vec();
    bytes.splice(0..0, vec![b'z'; PART_MAX]);
    assert_eq!(split(&bytes, &vec![1; bytes.len()]), expected(&bytes));
}

#[test]
fn a_line_without_end_keeps_no_more_than_a_part() {
    let mut splitter = Splitter::default();
    let mut bytes = 0;
    let chunk = vec![b'a'; 65_536];
    for _ in 0..512 {
        splitter.feed(&chunk, |piece| {
            assert!(piece.goes_on);
            bytes += piece.text.len();
        });
        assert!(splitter.half.capacity() <= 2 * PART_MAX + 2, "{}", splitter.half.capacity());
    }
    assert_eq!(bytes + splitter.half().len(), 512 * chunk.len());
}

#[test]
fn the_return_of_a_dos_line_is_no_part_of_its_own() {
    let mut line = vec![b'a'; PART_MAX];
    line.extend_from_slice(b"\r\n");
    assert_eq!(split(&line, &[PART_MAX, 1]), [(vec![b'a'; PART_MAX], false)]);
}
