//! The last lines of a unit, as `status`, `why` and failed jobs show them.

use crate::api::log::LogLine;
use crate::cli::render::look::Tone;
use crate::cli::render::words;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::client::query::Path;

/// The last `count` lines that are kept of `unit`.
pub(super) fn last_lines(session: &Session, unit: &str, count: u32) -> Result<Vec<LogLine>, Failure> {
    let path =
        Path::new("/v1/logs").with("units", unit).with("lines", &count.to_string()).with("follow", "false");
    let mut stream = session.client_at_ease().follow::<LogLine>(&path)?;
    let mut lines = Vec::new();
    while let Some(line) = stream.read()? {
        lines.push(line);
    }
    Ok(lines)
}

/// The last `count` lines that `unit` itself has written, without what svinit says about it.
pub(super) fn own_lines(session: &Session, unit: &str, count: u32) -> Result<Vec<LogLine>, Failure> {
    // A unit that is started again and again has more of svinit's lines than of its own.
    let mut lines = last_lines(session, unit, count.saturating_mul(8))?;
    lines.retain(|line| line.stream != "svinit");
    let surplus = lines.len().saturating_sub(count as usize);
    Ok(lines.split_off(surplus))
}

/// Prints them with the time of day.
pub(super) fn print(session: &mut Session, lines: &[LogLine]) {
    let look = session.out.look;
    for line in lines {
        let time = words::clock(&line.ts);
        let message = words::printable(&line.message);
        let tone = if line.stream == "svinit" { Tone::Faint } else { Tone::Plain };
        let message = look.fit(time.chars().count() + 2, &message);
        session.out.line(format!("{}  {}", look.paint(Tone::Faint, time), look.paint(tone, &message)));
    }
}
