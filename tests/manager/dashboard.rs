//! The page of the admin listener in a real browser, in front of a real svinit: looked at and acted upon by keys alone.
//!
//! `SCREENSHOTS=DIR` keeps pictures of what a person would see.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::browser::Browser;
use crate::browser::ENTER;
use crate::browser::ESCAPE;
use crate::browser::TAB;
use crate::fixture::Manager;
use crate::supervisor::Essential;
use crate::supervisor::Setup;
use crate::supervisor::Svinit;
use crate::supervisor::skip;

const TOKEN: &str = "correct-horse-battery-staple";

/// Says that it serves, and answers every GET.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    def log_message(self, *args):
        pass
print("<b>serving</b> at", sys.argv[1], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// The row of the unit that serves.
const WEB: &str = "[data-service=app] [data-unit=web]";

/// The reason that the page shows.
const WHY: &str = "document.querySelector('[data-service=app] pre').innerText";

/// A service `app` that is the unit `web`, the manager in front of it, and where its page is.
struct System {
    svinit: Svinit,
    manager: Manager,
    page: String,
}

fn system() -> System {
    let port = free_port();
    let unit = format!(
        "command = [\"python3\", \"{{dir}}/server.py\", \"{port}\"]\nready.http = \"http://127.0.0.1:{port}/\"\n"
    );
    let setup = Setup::new().file("server.py", SERVER).file("token", TOKEN).unit("web", &unit);
    let svinit = setup.unit("beside", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    let manager = Manager::start(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{}\"\n\
         [[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://127.0.0.1:{port}\"]\n\
         control = {{ driver = \"socket\", path = \"{}\", unit = \"web\" }}\n\
         health = {{ http = \"/\", interval = \"1s\", unhealthy_interval = \"500ms\", timeout = \"1s\", retries = 2 }}\n",
        svinit.path("token").display(),
        svinit.socket().display(),
    ));
    manager.wait_for("recovery: all services: leader");
    let line = manager.wait_for("admin listener on ");
    let page = format!("http://{}/", line.rsplit(' ').next().unwrap());
    System { svinit, manager, page }
}

fn free_port() -> u16 {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap().port()
}

fn browser() -> Option<Browser> {
    Browser::open().map_err(|why| skip(&why, Essential::Yes)).ok()
}

/// As a person does who has the token.
fn enter(browser: &Browser, page: &str) {
    browser.go(page);
    browser.wait_for("the token is asked for", "document.activeElement.id === 'token'");
    browser.press(TOKEN);
    browser.press(ENTER);
    browser.wait_for("the unit is shown", &format!("document.querySelector('{WEB}')"));
}

/// Waits until the page shows this in the row of the unit that serves.
#[track_caller]
fn wait_for_cell(browser: &Browser, cell: &str, text: &str) {
    let is_so = format!("document.querySelector('{WEB} [data-ref={cell}]').textContent === '{text}'");
    browser.wait_for(&format!("{cell} is {text}"), &is_so);
}

/// Presses the button in the row of the unit that serves, and the other one in the dialog.
fn confirm(browser: &Browser, button: &str) {
    browser.tab_to(&format!("{WEB} [data-do={button}]"));
    browser.press(ENTER);
    browser
        .wait_for("it is asked back, and Cancel has the focus", "document.activeElement.id === 'dialog-no'");
    keep(browser, button);
    browser.press(TAB);
    browser.press(ENTER);
    browser.wait_for("the dialog is closed", "!document.getElementById('dialog').open");
}

fn keep(browser: &Browser, name: &str) {
    if let Some(dir) = std::env::var_os("SCREENSHOTS") {
        browser.screenshot(&Path::new(&dir).join(format!("{name}.png")));
    }
}

fn pid(svinit: &Svinit) -> String {
    svinit.status("web")["pid"].to_string()
}

#[test]
fn a_person_with_a_keyboard_alone_sees_restarts_stops_and_starts() {
    let Some(browser) = browser() else { return };
    let System { svinit, manager, page } = system();
    browser.go(&page);
    browser.wait_for("the token is asked for", "document.activeElement.id === 'token'");
    browser.press("another-token");
    browser.press(ENTER);
    browser.wait_for("it is refused", "document.getElementById('login-error').textContent");
    assert_eq!(browser.run("return document.getElementById('app').hidden"), json!(true));
    enter(&browser, &page);

    let before = pid(&svinit);
    wait_for_cell(&browser, "pid", &before);
    wait_for_cell(&browser, "state", "ready");
    browser.wait_for("all is well", "document.getElementById('headline').innerText.startsWith('All well')");
    browser.wait_for("there is a route", "document.querySelector('#route-list tr')");
    browser.wait_for(
        "what the unit has said is shown as it is",
        "document.getElementById('log-lines').textContent.includes('<b>serving</b> at')",
    );
    keep(&browser, "well");

    // Escape does nothing, and leads back to where one was.
    let restart = format!("{WEB} [data-do=restart]");
    browser.tab_to(&restart);
    browser.press(ENTER);
    browser.wait_for("it is asked back", "document.getElementById('dialog').open");
    browser.press(ESCAPE);
    browser.wait_for("the focus is back", &format!("document.activeElement.matches('{restart}')"));
    assert_eq!(pid(&svinit), before);

    confirm(&browser, "restart");
    let shown = format!("document.querySelector('{WEB} [data-ref=pid]').textContent");
    let is_another = format!("!['{before}', '–'].includes({shown}) && {shown}");
    let after = browser.wait_for("another PID is shown", &is_another);
    assert_eq!(after.as_str(), Some(&*pid(&svinit)), "{}", manager.said());
    browser.wait_for("it is told", "document.getElementById('notes').textContent.includes('Restarted web')");
    assert_eq!(browser.run(&format!("return document.activeElement.matches('{restart}')")), json!(true));
    browser.wait_for("it is an event", "document.getElementById('event-lines').textContent.includes('app')");

    confirm(&browser, "stop");
    wait_for_cell(&browser, "state", "inactive");
    assert_eq!(svinit.status("web")["state"], json!("inactive"));
    browser.wait_for(
        "it is told on top",
        "document.getElementById('problems').textContent.includes('web is stopped')",
    );
    keep(&browser, "stopped");

    confirm(&browser, "start");
    wait_for_cell(&browser, "state", "ready");
    wait_for_cell(&browser, "pid", &pid(&svinit));
    browser.wait_for("all is well", "document.getElementById('headline').innerText.startsWith('All well')");
}

#[test]
fn recovery_is_paused_and_resumed_and_a_reason_is_shown_when_asked_for() {
    let Some(browser) = browser() else { return };
    let System { svinit: _svinit, manager, page } = system();
    enter(&browser, &page);
    browser.tab_to("[data-service=app] [data-do=why]");
    browser.press(ENTER);
    browser.wait_for("why", &format!("{WHY}.includes('app is')"));

    browser.tab_to("[data-service=app] [data-do=pause]");
    browser.press(ENTER);
    browser.wait_for("it is asked back", "document.getElementById('dialog').open");
    browser.tab_to("#dialog-yes");
    browser.press(ENTER);
    let chip = "document.querySelector('[data-service=app] [data-ref=paused]').innerText";
    browser.wait_for("it is paused", &format!("{chip}.includes('paused for')"));
    manager.wait_for("recovery: app: paused");

    browser.wait_for("the dialog is closed", "!document.getElementById('dialog').open");
    browser.tab_to("[data-service=app] [data-do=pause]");
    browser.press(ENTER);
    browser.wait_for("it is resumed", &format!("!{chip}"));
    manager.wait_for("recovery: app: resumed");
}

#[test]
fn it_fits_a_telephone_and_keeps_what_it_knows_when_the_manager_is_gone() {
    let Some(browser) = browser() else { return };
    let System { svinit, manager, page } = system();
    browser.resize(390, 844);
    enter(&browser, &page);
    wait_for_cell(&browser, "state", "ready");
    browser.tab_to("[data-service=app] [data-do=why]");
    browser.press(ENTER);
    browser.wait_for("why", &format!("{WHY}.includes('app is')"));
    for (width, scheme) in [(390, "dark"), (360, "light"), (1280, "light")] {
        browser.resize(width, 844);
        browser.prefer(scheme);
        let wide = browser.run("return [document.scrollingElement.scrollWidth, innerWidth]");
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{wide} at {width}");
        keep(&browser, &format!("{width}-{scheme}"));
    }
    drop(manager);
    browser.wait_for(
        "it is told since when",
        "/cannot be reached since \\d\\d:\\d\\d:\\d\\d/.test(document.getElementById('headline').innerText)",
    );
    assert_eq!(browser.run("return document.body.classList.contains('stale')"), json!(true));
    wait_for_cell(&browser, "pid", &pid(&svinit));
    assert_eq!(browser.run(&format!("return {WHY}.includes('app is')")), json!(true));
    keep(&browser, "lost");
}
