//! A browser without a window, driven over WebDriver: `chromedriver` and `chromium`, with a profile of their own.
//!
//!     let browser = match Browser::open() { Ok(browser) => browser, Err(why) => return skip(&why, Essential::Yes) };
//!     browser.go("http://127.0.0.1:9600/");
//!     browser.wait_for("the page is there", "document.getElementById('headline')");
//!
//! It needs nothing of this crate, so that another binary of tests can have it by `#[path]`. Each wait has a bound, after
//! which it panics with what the page shows. Both processes end with the value.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, wait for them, and bound their waits by a clock"
)]
#![allow(dead_code, unreachable_pub, reason = "a tool for every module, of which each uses a part")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait of the page for anything. Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The driver answers after the page has: its own waits end first, and say why.
const PATIENCE_FOR_DRIVER: Duration = Duration::from_secs(90);

/// Keys that are no characters, as WebDriver names them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";

/// No window and no sandbox (which root cannot have), and nobody asked but whom a test asks.
const OPTIONS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
];

/// A browser with one page.
pub struct Browser {
    driver: Driver,
    session: String,
}

impl Browser {
    /// Starts it.
    ///
    /// # Errors
    /// This machine has none; the text says what is missing.
    pub fn open() -> Result<Self, String> {
        let driver = Driver::start()?;
        let profile = format!("--user-data-dir={}", driver.home.path().join("profile").display());
        let options: Vec<&str> = OPTIONS.iter().copied().chain([&*profile]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": options },
            "timeouts": { "script": millis(PATIENCE), "pageLoad": millis(PATIENCE) },
        } } });
        match driver.ask("POST", "/session", &wanted) {
            Ok(value) => {
                let session = value["sessionId"].as_str().expect("a session has a name");
                Ok(Self { session: format!("/session/{session}"), driver })
            }
            Err(why) if why.contains("cannot find Chrome binary") => Err("there is no chromium".to_owned()),
            Err(why) => panic!("chromium does not start: {why}"),
        }
    }

    /// Goes to this address, and waits until the page is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What this JavaScript `return`s in the page.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until this expression is true in the page, whatever it says; returns its value.
    #[track_caller]
    pub fn wait_for(&self, what: &str, expression: &str) -> Value {
        // The page looks again and again, so that nobody sleeps here.
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const look = () => {{
                 let value = null;
                 try {{ value = ({expression}); }} catch {{ /* not there yet */ }}
                 if (value) done(value); else setTimeout(look, 50);
             }};
             look();"
        );
        self.try_post("/execute/async", &json!({ "script": script, "args": [] })).unwrap_or_else(|why| {
            let shown = self.try_post(
                "/execute/sync",
                &json!({ "script": "return document.body.innerText", "args": [] }),
            );
            let shown = shown.unwrap_or_default();
            panic!(
                "never came to pass: {what}: {why}\nthe page shows\n{}",
                shown.as_str().unwrap_or_default()
            );
        })
    }

    /// Presses these keys one after the other.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
            })
            .collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] }));
    }

    /// Presses Tab until what has the focus is what this selector says.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        let is_there = format!("return document.activeElement.matches({})", json!(selector));
        for _ in 0..200 {
            if self.run(&is_there) == json!(true) {
                return;
            }
            self.press(TAB);
        }
        panic!("no number of Tab leads to {selector}");
    }

    /// The page's size, in its own pixels. A window would not become as narrow as a telephone.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// As a person wishes who has said `dark` or `light` to the system.
    #[track_caller]
    pub fn prefer(&self, scheme: &str) {
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &scheme);
    }

    /// Writes what is to be seen to this file, as PNG.
    #[track_caller]
    pub fn screenshot(&self, to: &Path) {
        let seen = self.driver.ask("GET", &format!("{}/screenshot", self.session), &Value::Null).unwrap();
        let file = std::fs::File::create(to).unwrap();
        let mut decoder =
            Command::new("base64").arg("--decode").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
        decoder.stdin.take().unwrap().write_all(seen.as_str().unwrap().as_bytes()).unwrap();
        assert!(decoder.wait().unwrap().success());
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.try_post(path, body).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.driver.ask("POST", &format!("{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; what it leaves is killed with the driver.
        let _ = self.driver.ask("DELETE", &self.session, &Value::Null);
    }
}

/// A `chromedriver` that runs.
struct Driver {
    child: Child,
    address: SocketAddr,
    home: TempDir,
}

impl Driver {
    fn start() -> Result<Self, String> {
        let home = tempfile::tempdir().unwrap();
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            // Nothing of whoever runs the test is read or written.
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // So that all that it starts can be told to end.
            .process_group(0)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(why) if why.kind() == ErrorKind::NotFound => {
                return Err("there is no chromedriver".to_owned());
            }
            Err(why) => panic!("chromedriver does not start: {why}"),
        };
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut driver = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), home };
        let (told, port) = mpsc::channel();
        thread::spawn(move || {
            // Read to the end, or it would wait for us.
            for line in lines.map_while(Result::ok) {
                let port =
                    line.rsplit_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.'));
                if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
                    let _ = told.send(port);
                }
            }
        });
        driver.address.set_port(port.recv_timeout(PATIENCE).expect("chromedriver says where it listens"));
        Ok(driver)
    }

    /// One command: its value, or what the driver says is wrong.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.exchange(method, path, body).map_err(|why| format!("{method} {path}: {why}"))?;
        let mut answer: Value =
            serde_json::from_slice(&answer).map_err(|why| format!("{method} {path}: {why}"))?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"].as_str().unwrap_or_default())),
            None => Ok(value),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE_FOR_DRIVER))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(std::io::Error::other)?;
                }
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a minute is not so long")
}
