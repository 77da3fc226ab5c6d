//! Bytes from services and servers: notifications, answers of HTTP and DNS, log lines, names of log files.

use std::cell::RefCell;

use serde_json::Value;
use svinit::client::head;
use svinit::lifecycle::event::{Pid, Sign};
use svinit::logs::format::{Head, Origin, Stamp};
use svinit::logs::line::Stream;
use svinit::logs::lines::{PART_MAX, Splitter};
use svinit::logs::rotate::{Form, Rotated, Rotation};
use svinit::net::http1::{self, HEAD_MAX};
use svinit::net::resolve::message::{Answer, Kind, Question};
use svinit::os::notify::{self, SPAN_MAX, STATUS_MAX};
use svinit::units::spec::LogFormat;
use tokio::runtime::{Builder, Runtime};

use crate::mutate::Dice;
use crate::target::Target;

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_all().build().unwrap());
}

/// Does this on a runtime of this thread.
pub fn wait<T>(act: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(act))
}

/// Cuts `bytes` at places that follow from the bytes.
fn cuts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut dice = Dice::new(bytes.iter().fold(1, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte)));
    let mut rest = bytes;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let longest = [1, 2, 7, 100, 5000, 70_000][dice.below(6)];
        let (part, after) = rest.split_at(1 + dice.below(longest.min(rest.len())));
        parts.push(part);
        rest = after;
    }
    parts
}

/// Datagrams of `sd_notify`.
pub const NOTIFY: Target = Target {
    name: "notify",
    read: |bytes| {
        let signs = notify::parse(bytes);
        for sign in &signs {
            match sign {
                // One byte that is no text becomes a character of three.
                Sign::Status(text) if text.len() > 3 * STATUS_MAX => {
                    return Err(format!("{} bytes", text.len()));
                }
                Sign::Status(text) if text.chars().any(char::is_control) => {
                    return Err(format!("a status that moves the cursor: {text:?}"));
                }
                Sign::MainPid(Pid(..=1)) => return Err("init, or a group, as main process".to_owned()),
                Sign::Reason(text) if text.len() > STATUS_MAX || text.chars().any(char::is_control) => {
                    return Err(format!("a reason that is no line: {text:?}"));
                }
                Sign::AliveEvery(span) | Sign::MoreTime(span) if span.is_zero() || *span > SPAN_MAX => {
                    return Err(format!("a time of {span:?}"));
                }
                Sign::Ready
                | Sign::Reloading(_)
                | Sign::Stopping
                | Sign::Status(_)
                | Sign::MainPid(_)
                | Sign::Alive
                | Sign::Hung
                | Sign::AliveEvery(_)
                | Sign::MoreTime(_)
                | Sign::Reason(_) => {}
            }
        }
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        // The moment of a reload stands in another line, in front of it or behind.
        let timeless = |sign| if let Sign::Reloading(_) = sign { Sign::Reloading(None) } else { sign };
        let alone: Vec<Sign> = lines.iter().flat_map(|line| notify::parse(line)).map(timeless).collect();
        let signs: Vec<Sign> = signs.into_iter().map(timeless).collect();
        if alone.starts_with(&signs) && signs.len() <= lines.len() {
            Ok(())
        } else {
            Err(format!("together {signs:?}, each line alone {alone:?}"))
        }
    },
    dictionary: &[
        "READY=1",
        "RELOADING=1",
        "STOPPING=1",
        "STATUS=",
        "WATCHDOG=trigger",
        "WATCHDOG_USEC=",
        "EXTEND_TIMEOUT_USEC=",
        "ERRNO=",
        "EXIT_STATUS=",
        "MAINPID=",
        "MAINPID=1",
        "MAINPID=-1",
        "\n",
        "=",
        "WATCHDOG=1",
        "FDSTORE=1",
        "BARRIER=1",
        "\x1b[2J",
    ],
    most: 5000,
    runs: 20_000,
};

/// Heads of responses, as svctl reads them, and sizes of chunks.
pub const HEADS: Target = Target {
    name: "heads",
    read: |bytes| {
        let _ = head::chunk_size(bytes);
        let Some(end) = head::end_of(bytes) else { return Ok(()) };
        if !bytes[..end].ends_with(b"\r\n\r\n") || head::end_of(&bytes[..end - 1]).is_some() {
            return Err(format!("the head does not end at {end}"));
        }
        if let Ok(head) = head::parse(&bytes[..end])
            && !(100..600).contains(&head.status)
        {
            return Err(format!("{head:?}"));
        }
        Ok(())
    },
    dictionary: &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 ",
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "\r\n",
        "\r\n\r\n",
        ": ",
        "content-length:",
        "identity",
        "gzip, chunked",
        "1e;x=y",
        "\n\n",
    ],
    most: 3000,
    runs: 20_000,
};

/// What a checked server answers: the same status however it arrives, and never more read than is allowed.
pub const ANSWERS: Target = Target {
    name: "answers",
    read: |bytes| {
        let mut whole = bytes;
        let at_once = wait(http1::read_status(&mut whole));
        if bytes.len() - whole.len() > HEAD_MAX + 1024 {
            return Err(format!("{} bytes were read", bytes.len() - whole.len()));
        }
        let mut cut = tokio_test_reader(bytes);
        let in_parts = wait(http1::read_status(&mut cut));
        match (&at_once, &in_parts) {
            (Ok(one), Ok(other)) if one == other && (100..600).contains(&one.0) => Ok(()),
            (Err(_), Err(_)) => Ok(()),
            _ => Err(format!("at once {at_once:?}, in parts {in_parts:?}")),
        }
    },
    dictionary: &[
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.0 503",
        "HTTP/1.1 101 ",
        "\r\n",
        "\n",
        "\n\n",
        "HTTP/",
        "103 ",
    ],
    most: 20_000,
    runs: 10_000,
};

/// A stream that gives the same bytes in pieces.
fn tokio_test_reader(bytes: &[u8]) -> impl tokio::io::AsyncRead + Unpin {
    use tokio::io::AsyncReadExt;

    let parts = cuts(bytes).into_iter().map(<[u8]>::to_vec);
    let empty: Box<dyn tokio::io::AsyncRead + Unpin> = Box::new(tokio::io::empty());
    // Many pieces would be as many readers within each other.
    let parts: Vec<Vec<u8>> = parts.collect();
    let most = 200;
    let rest: Vec<u8> = parts.iter().skip(most).flatten().copied().collect();
    let last: Box<dyn tokio::io::AsyncRead + Unpin> = Box::new(std::io::Cursor::new(rest).chain(empty));
    parts
        .into_iter()
        .take(most)
        .rev()
        .fold(last, |after, part| Box::new(std::io::Cursor::new(part).chain(after)))
}

/// Answers of name servers. The first two bytes become the number of our question: others are not even looked at.
pub const NAMES: Target = Target {
    name: "names",
    read: |bytes| {
        for kind in [Kind::V4, Kind::V6] {
            let question = Question::new("db.example.org", kind).map_err(|error| error.to_string())?;
            let mut message = bytes.to_vec();
            let length = message.len().min(2);
            message[..length].copy_from_slice(&question.bytes()[..length]);
            // Half of them also ask what we have asked.
            if bytes.first().is_some_and(|byte| byte % 2 == 0) && message.len() >= 12 {
                let rest = message.split_off(message.len().min(question.bytes().len()));
                message.truncate(12);
                message.extend_from_slice(&question.bytes()[12..]);
                message.extend_from_slice(&rest);
            }
            match question.answer(&message) {
                Some(Answer::Addresses(found)) if found.len() > 128 => {
                    return Err(format!("{} found", found.len()));
                }
                Some(Answer::Addresses(found))
                    if found.iter().any(|at| at.is_ipv4() != (kind == Kind::V4)) =>
                {
                    return Err(format!("asked for {kind:?}, took {found:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    },
    dictionary: &["\x02db\x07example\x03org", "\0\x01\0\x01", "\0\x1c\0\x01", "\u{c}", "\0\x04\x7f\0\0\x01"],
    most: 1000,
    runs: 20_000,
};

fn pieces(parts: &[&[u8]]) -> (Vec<(Vec<u8>, bool)>, usize) {
    let mut splitter = Splitter::default();
    let (mut pieces, mut most) = (Vec::new(), 0);
    for part in parts {
        splitter.feed(part, |piece| pieces.push((piece.text.to_vec(), piece.goes_on)));
        most = most.max(splitter.half().len());
    }
    splitter.finish(|piece| pieces.push((piece.text.to_vec(), piece.goes_on)));
    (pieces, most)
}

/// More of them take time and show nothing.
const LONG_PARTS_MAX: usize = 12;

/// Lines of logs. An input stands for a stream: each `0xff` in it for some kilobytes without a newline.
pub const LINES: Target = Target {
    name: "lines",
    read: |bytes| {
        let long = [b'x'; 5461];
        let mut left = LONG_PARTS_MAX;
        let mut stream = Vec::new();
        for byte in bytes {
            if *byte == 0xff && left > 0 {
                left -= 1;
                stream.extend_from_slice(&long);
            } else {
                stream.push(*byte);
            }
        }
        let (at_once, _) = pieces(&[&stream]);
        let (in_parts, most) = pieces(&cuts(&stream));
        if at_once != in_parts {
            return Err(format!("{} pieces at once, {} in parts", at_once.len(), in_parts.len()));
        }
        if most > PART_MAX + 1 {
            return Err(format!("{most} bytes are kept"));
        }
        if at_once.iter().any(|(text, goes_on)| text.len() > PART_MAX || *goes_on && text.len() != PART_MAX) {
            return Err("a piece has another size than it may".to_owned());
        }
        let mut joined = Vec::new();
        for (text, goes_on) in &at_once {
            joined.extend_from_slice(text);
            if !goes_on {
                joined.push(b'\n');
            }
        }
        let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
        let last = lines.pop().filter(|last| !last.is_empty());
        let mut expected = Vec::new();
        for line in lines {
            expected.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            expected.push(b'\n');
        }
        expected.extend(last.map(|last| [last, b"\n"].concat()).unwrap_or_default());
        // The last half line is whole as it is, but for a `\r` that a newline could have followed.
        let trimmed =
            |text: &[u8]| text.strip_suffix(b"\n").map(|t| t.strip_suffix(b"\r").unwrap_or(t).to_vec());
        if joined == expected || trimmed(&joined) == trimmed(&expected) {
            Ok(())
        } else {
            Err("the lines are not those of the stream".to_owned())
        }
    },
    dictionary: &["\n", "\r\n", "\r", "\r\r\n", "\n\n", "line"],
    most: 300,
    runs: 3_000,
};

/// A line in both forms: it stays one line, begins with its unit, and moves no cursor.
pub const FORMAT: Target = Target {
    name: "format",
    read: |bytes| {
        let origin = Origin { unit: "web", pid: Some(42), stream: Stream::Stdout, level: None };
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\n').collect();
        let (mut head, mut stamp, mut out) = (Head::default(), Stamp::default(), Vec::new());
        head.set(LogFormat::Json, &mut stamp, 1_700_000_000_000_000, origin);
        head.put(&mut out, &text, false);
        let line: Value = serde_json::from_slice(&out).map_err(|error| format!("no JSON: {error}"))?;
        if line["message"] != String::from_utf8_lossy(&text).as_ref() || line["unit"] != "web" {
            return Err(format!("the line is {line}"));
        }
        out.clear();
        head.set(LogFormat::Text, &mut stamp, 0, origin);
        head.put(&mut out, &text, false);
        let newlines = out.iter().filter(|byte| **byte == b'\n').count();
        if newlines != 1
            || !out.starts_with(b"web | ")
            || out.iter().any(|byte| matches!(byte, b'\r' | 8 | 11 | 12))
        {
            return Err(format!("the line is {:?}", String::from_utf8_lossy(&out)));
        }
        // Of escape sequences only colours are left.
        for at in (0..out.len()).filter(|at| out[*at] == 0x1b) {
            let end = out[at..].iter().position(|byte| *byte == b'm');
            let is_colour = end.is_some_and(|end| {
                out[at..].starts_with(b"\x1b[")
                    && out[at + 2..at + end].iter().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'))
            });
            if !is_colour {
                return Err(format!("it may move the cursor: {:?}", String::from_utf8_lossy(&out)));
            }
        }
        Ok(())
    },
    dictionary: &[
        "\x1b[31m", "\x1b[2J", "\x1b]0;", "\x1b", "\r", "\u{9b}2J", "\"", "\\", "\u{2028}", "\0", "web | ",
    ],
    most: 1000,
    runs: 20_000,
};

/// Names of log files: each line is a name beside `app.log`. And what fits into a file, and which files go.
pub const ROTATION: Target = Target {
    name: "rotation",
    read: |bytes| {
        let names = String::from_utf8_lossy(bytes);
        let mut found = Vec::new();
        for name in names.lines() {
            let Some(rotated) = Rotated::parse("app.log", name) else { continue };
            if rotated.name("app.log") != name {
                return Err(format!("{name:?} is taken for {:?}", rotated.name("app.log")));
            }
            found.push(rotated);
        }
        let mut dice = Dice::new(bytes.len() as u64 + u64::from(bytes.first().copied().unwrap_or(0)) * 7919);
        let rotation = Rotation {
            max_size: [0, 1, 10, 1000][dice.below(4)],
            max_age_us: [0, 1, 86_400_000_000][dice.below(3)],
            keep: [0, 1, 3][dice.below(3)],
            compress: true,
        };
        let gone = rotation.surplus(found.clone(), 1_790_000_000_000_000);
        let kept: Vec<&Rotated> = found.iter().filter(|file| !gone.contains(file)).collect();
        let mut stamps: Vec<&str> = kept.iter().map(|file| file.stamp.as_str()).collect();
        stamps.sort_unstable();
        stamps.dedup();
        if stamps.len() > rotation.keep as usize || kept.iter().any(|file| file.form == Form::Unfinished) {
            return Err(format!("{kept:?} are kept by {rotation:?}"));
        }
        if gone.iter().any(|file| !found.contains(file)) {
            return Err("files go that are not there".to_owned());
        }
        let size = [0, 5, 999, 5000][dice.below(4)];
        let fitting = rotation.fitting(size, bytes);
        let is_whole = fitting == bytes.len() || bytes[..fitting].last().is_none_or(|byte| *byte == b'\n');
        let room = rotation.max_size == 0 || size + fitting as u64 <= rotation.max_size;
        let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        if fitting > bytes.len() || !is_whole || !(room || fitting == 0 || size == 0 && fitting == first) {
            return Err(format!("{fitting} of {} bytes fit beside {size} by {rotation:?}", bytes.len()));
        }
        if fitting == 0 && size == 0 && !bytes.is_empty() {
            return Err("nothing fits into an empty file".to_owned());
        }
        Ok(())
    },
    dictionary: &[
        "app.log.",
        "2026-11-21T04-04-18.123456Z",
        ".gz",
        ".gz.tmp",
        "\n",
        ".bak",
        "app.log",
        "9999-99-99T99-99-99.999999Z",
    ],
    most: 2000,
    runs: 20_000,
};
