//! Without threads, as at `pids.max`. With them, everything is tested through the pump.

use std::io::{PipeReader, Read};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

const BOUND: Duration = Duration::from_secs(20);

fn without_threads() -> (Writer, PipeReader) {
    let (reader, stdout) = std::io::pipe().unwrap();
    let streams =
        Streams { stdout: Some(stdout.into()), stderr: None, format: LogFormat::Text, buffer_total: 1 << 20 };
    (Writer::start_with(streams, Files::Some, |_, _| false), reader)
}

fn chunk(bytes: &[u8], out: usize) -> Chunk {
    Chunk { bytes: bytes.to_vec(), lines: bytes.iter().filter(|b| **b == b'\n').count() as u64, out }
}

fn has_rung(writer: &Writer, timeout: PollTimeout) -> bool {
    let bell = writer.bell().unwrap();
    poll(&mut [PollFd::new(bell, PollFlags::POLLIN)], timeout).unwrap() == 1
}

#[test]
fn without_threads_lines_are_written_at_once() {
    let (writer, mut reader) = without_threads();
    let id = writer.add(To::Streams, "web".into(), 1 << 16, WhenBlocked::Block);
    assert_eq!(writer.push(To::Streams, id, chunk(b"web | a\n", 0)), Room::Left);
    let mut buffer = [0; 100];
    let n = reader.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"web | a\n");
}

#[test]
fn without_threads_a_blocked_stdout_holds_the_unit_and_rings_when_it_flows() {
    let (writer, mut reader) = without_threads();
    let id = writer.add(To::Streams, "web".into(), 1 << 16, WhenBlocked::Block);
    let mut pushed = 0;
    let mut push = || {
        let text = format!("{pushed:>8191}\n");
        pushed += 1;
        writer.push(To::Streams, id, chunk(text.as_bytes(), 0))
    };
    while push() == Room::Left {}
    assert!(writer.is_held(To::Streams, id));
    writer.on_bell();
    assert!(!has_rung(&writer, PollTimeout::ZERO));
    let mut all = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while writer.is_held(To::Streams, id) {
        let n = reader.read(&mut buffer).unwrap();
        all.extend_from_slice(&buffer[..n]);
        assert!(has_rung(&writer, PollTimeout::from(20_000_u16)));
        writer.on_bell();
    }
    let rest = thread::Builder::new().spawn(move || {
        reader.read_to_end(&mut all).unwrap();
        all
    });
    assert!(writer.wait_idle(BOUND));
    drop(writer);
    let all = String::from_utf8(rest.unwrap().join().unwrap()).unwrap();
    let numbers: Vec<usize> = all.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(numbers, (0..pushed).collect::<Vec<_>>());
}

#[test]
fn without_threads_a_blocked_stdout_ends_the_waiting_in_time() {
    let (writer, _reader) = without_threads();
    let id = writer.add(To::Streams, "web".into(), 1 << 20, WhenBlocked::Block);
    for _ in 0..20 {
        writer.push(To::Streams, id, chunk(&[b'\n'; 8192], 0));
    }
    assert!(!writer.wait_idle(Duration::from_millis(1)));
}

#[test]
fn without_threads_files_are_written_by_the_caller() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("app.log");
    let (writer, _reader) = without_threads();
    let rotation = Rotation { max_size: 0, max_age_us: 0, keep: 1, compress: false };
    let number = writer.file(&path, rotation);
    let id = writer.add(To::Files, "web".into(), 1 << 16, WhenBlocked::Block);
    writer.push(To::Files, id, chunk(b"a\n", number));
    assert_eq!(std::fs::read(&path).unwrap(), b"a\n");
    std::fs::rename(&path, dir.path().join("app.log.1")).unwrap();
    writer.reopen();
    writer.push(To::Files, id, chunk(b"b\n", number));
    assert_eq!(std::fs::read(&path).unwrap(), b"b\n");
}

#[test]
fn one_file_behind_both_streams_is_written_in_order() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("all.log");
    let open = || Some(std::fs::File::options().append(true).create(true).open(&path).unwrap().into());
    let streams = Streams { stdout: open(), stderr: open(), format: LogFormat::Text, buffer_total: 1 << 20 };
    let writer = Writer::start(streams, Files::None);
    let id = writer.add(To::Streams, "web".into(), 1 << 20, WhenBlocked::Block);
    let mut expected = String::new();
    for n in 0..2000 {
        let text = format!("{n}\n");
        writer.push(To::Streams, id, chunk(text.as_bytes(), n % 2));
        expected.push_str(&text);
    }
    assert!(writer.wait_idle(BOUND));
    assert!(std::fs::read_to_string(&path).unwrap() == expected);
}
