//! One line a request.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::manager::config::spec::AccessFormat;
use crate::manager::journal::{Journal, stamp};

/// How one request went.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Who asked.
    pub client: Option<IpAddr>,
    /// Its method; empty when the request could not be read.
    pub method: String,
    /// The host it asked.
    pub host: String,
    /// The path and query it asked for.
    pub target: String,
    /// The status of the answer; 499: it did not wait for one.
    pub status: u16,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// From its head to the end of the answer.
    pub took: Duration,
    /// From its head to the head of the service's answer.
    pub answered_after: Option<Duration>,
    /// How long it waited for an instance.
    pub parked: Duration,
    /// Which service.
    pub service: String,
    /// Which instance.
    pub instance: Option<SocketAddr>,
    /// How often it was tried again.
    pub retries: u32,
    /// Its id.
    pub id: String,
    /// What went wrong, and whose fault it was.
    pub error: String,
    /// `User-Agent`.
    pub agent: String,
    /// The protocol it was switched to.
    pub upgrade: String,
}

impl Record {
    /// Writes it.
    pub fn tell(&self, format: AccessFormat, journal: &Journal) {
        let mut line = Vec::with_capacity(320);
        match format {
            AccessFormat::Off => return,
            AccessFormat::Text => self.text(&mut line),
            AccessFormat::Json => self.json(&mut line),
        }
        line.push(b'\n');
        journal.put(&line);
    }

    fn client(&self) -> String {
        self.client.map_or_else(|| "-".to_owned(), |client| client.to_string())
    }

    fn text(&self, out: &mut Vec<u8>) {
        stamp(out);
        // Writing to memory does not fail.
        let _ = write!(
            out,
            " {} {} {}{} {} {}B {:.1}ms",
            self.client(),
            if self.method.is_empty() { "-" } else { &self.method },
            if self.host.is_empty() { "-" } else { &self.host },
            self.target,
            self.status,
            self.sent,
            self.took.as_secs_f64() * 1000.0
        );
        match self.instance {
            Some(instance) => {
                let _ = write!(out, " {}={instance}", self.service);
            }
            None if !self.service.is_empty() => {
                let _ = write!(out, " {}=-", self.service);
            }
            None => {}
        }
        if !self.upgrade.is_empty() {
            let _ = write!(out, " upgrade={}", self.upgrade);
        }
        if self.parked.as_millis() > 0 {
            let _ = write!(out, " parked={:.1}ms", self.parked.as_secs_f64() * 1000.0);
        }
        if self.retries > 0 {
            let _ = write!(out, " retries={}", self.retries);
        }
        let _ = write!(out, " id={}", self.id);
        if !self.error.is_empty() {
            let _ = write!(out, " ({})", self.error);
        }
    }

    fn json(&self, out: &mut Vec<u8>) {
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let mut time = Vec::new();
        stamp(&mut time);
        let told = serde_json::json!({
            "ts": String::from_utf8_lossy(&time),
            "client": self.client(),
            "method": self.method,
            "host": self.host,
            "target": self.target,
            "status": self.status,
            "received": self.received,
            "sent": self.sent,
            "took_ms": millis(self.took),
            "answered_ms": self.answered_after.map(millis),
            "parked_ms": millis(self.parked),
            "service": self.service,
            "instance": self.instance.map(|at| at.to_string()),
            "retries": self.retries,
            "request_id": self.id,
            "agent": self.agent,
            "upgrade": self.upgrade,
            "error": self.error,
        });
        let _ = write!(out, "{told}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_happened_and_nothing_that_breaks_it() {
        let record = Record {
            client: Some("192.0.2.1".parse().unwrap()),
            method: "GET".to_owned(),
            host: "app.example".to_owned(),
            target: "/a?b=\"c\"".to_owned(),
            status: 200,
            sent: 12,
            took: Duration::from_micros(1500),
            service: "backend".to_owned(),
            instance: Some("10.0.0.1:80".parse().unwrap()),
            id: "id1".to_owned(),
            agent: "evil\n\"agent\"".to_owned(),
            ..Record::default()
        };
        let mut text = Vec::new();
        record.text(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.ends_with("Z 192.0.2.1 GET app.example/a?b=\"c\" 200 12B 1.5ms backend=10.0.0.1:80 id=id1"),
            "{text}"
        );
        let mut json = Vec::new();
        record.json(&mut json);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            (value["took_ms"].as_f64(), value["agent"].as_str()),
            (Some(1.5), Some("evil\n\"agent\""))
        );
        assert!(!json.contains(&b'\n'));
    }

    #[test]
    fn every_field_is_in_the_manual_and_no_other() {
        let manual =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/manager.md")).unwrap();
        let table = manual
            .split_once("<!-- fields of the access log -->")
            .unwrap()
            .1
            .split_once("<!-- end -->")
            .unwrap()
            .0;
        let mut told: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name)
            .collect();
        told.sort_unstable();
        let mut json = Vec::new();
        Record::default().json(&mut json);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut written: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        written.sort_unstable();
        assert_eq!(told, written);
    }
}
