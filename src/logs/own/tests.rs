//! svinit's own voice: filtered, bounded, and never a panic.

use std::io::Read;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::logs::writer::{Files, Streams};
use crate::units::spec::LogFormat;

/// What stderr gets while `speak` speaks.
fn heard(level: LogLevel, speak: impl FnOnce(&Own)) -> String {
    let (mut reader, stderr) = std::io::pipe().unwrap();
    let streams =
        Streams { stdout: None, stderr: Some(stderr.into()), format: LogFormat::Text, buffer_total: 1 << 20 };
    let writer = Writer::start(streams, Files::None);
    let own = Own::new(&writer, level);
    speak(&own);
    assert!(writer.wait_idle(Duration::from_secs(20)));
    drop((own, writer));
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    all
}

#[test]
fn tracing_goes_into_the_same_stream() {
    let all = heard(LogLevel::Info, |own| {
        let subscriber = tracing_subscriber::registry().with(own.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("up in {} ms", 3);
            tracing::warn!(unit = "web", code = 7, "ended");
            tracing::debug!("not at this level");
        });
    });
    assert_eq!(all, "svinit | up in 3 ms\nsvinit | web: ended code=7\n");
}

#[test]
fn each_line_of_a_text_carries_the_name() {
    let all = heard(LogLevel::Debug, |own| own.say(None, LogLevel::Debug, "one\nnginx | two\r\nthree"));
    assert_eq!(all, "svinit | one\nsvinit | nginx | two\nsvinit | three\n");
}

#[test]
fn a_very_long_text_is_cut_at_a_character() {
    let all = heard(LogLevel::Error, |own| own.say(None, LogLevel::Error, &"ä".repeat(100_000)));
    assert!(all.len() <= 8300 && all.ends_with("ä\n"));
}

#[test]
fn what_is_said_from_many_threads_comes_whole() {
    let all = heard(LogLevel::Info, |own| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let own = own.clone();
                let run = move || (0..50).for_each(|i| own.say(None, LogLevel::Info, &format!("{n} {i}")));
                std::thread::Builder::new().spawn(run).unwrap()
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    for n in 0..4 {
        let said: Vec<_> =
            all.lines().filter_map(|line| line.strip_prefix(&format!("svinit | {n} "))).collect();
        assert_eq!(said, (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
