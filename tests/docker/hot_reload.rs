//! A page that is worked on, in a real browser, through the gateway: a change reaches it, and nothing else of it is lost.

use std::fs;

use serde_json::json;

use crate::browser::Browser;
use crate::engine::{System, root};
use crate::healing::admin;

#[test]
fn a_change_of_a_source_reaches_the_open_page_through_port_80_and_the_page_is_not_loaded_again() {
    let Some(system) = System::laid_out("manager") else { return };
    let browser = match Browser::open() {
        Ok(browser) => browser,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}; in CI that is a failure: scripts/setup test");
            return println!("skipped: {why}; scripts/setup test installs it");
        }
    };
    let source = system.own_file("source");
    fs::create_dir_all(source.join("src")).unwrap();
    let app = root().join("images/frontend/app");
    for entry in fs::read_dir(app.join("src")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, source.join("src").join(path.file_name().expect("a name"))).unwrap();
    }
    fs::copy(app.join("index.html"), source.join("index.html")).unwrap();
    let system = system
        .file("compose.dev.yaml")
        .set("DATABASE_IMAGE", "mariadb")
        .set("FRONTEND_SOURCE", source.to_str().unwrap());
    system.start(&[]);
    let at = system.at("HTTP_PORT");
    // Vite finds out what the page is made of when it is first asked for, and may have the browser come again for that.
    system.wait_until("the page is there", || {
        browser.go(&format!("http://{at}/"));
        browser.run("return document.querySelector('h1')?.innerText") == json!("Things to do")
    });
    // Its websocket stands, through the gateway and by no other way: no other port is published.
    system.wait_until("its websocket passes", || {
        let metrics = admin(&system, "GET", "/metrics").body;
        let mut upgraded = metrics
            .lines()
            .filter(|line| line.starts_with("svmanager_instance_in_flight{service=\"frontend\""));
        upgraded.any(|line| line.ends_with(" 1"))
    });
    browser.run("window.since = 'before'; document.querySelector('input').focus();");
    browser.press("half a th");
    browser.wait_for("it is written", "document.querySelector('input').value === 'half a th'");

    let file = source.join("src/App.jsx");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("<h1>Things to do</h1>", "<h1>Things to do, changed</h1>")).unwrap();
    browser.wait_for(
        "it shows the change",
        "document.querySelector('h1').innerText === 'Things to do, changed'",
    );
    assert_eq!(browser.run("return window.since"), json!("before"), "the page was loaded again");
    assert_eq!(browser.run("return document.querySelector('input').value"), json!("half a th"));

    // Vite is restarted in its container. The page is told to come again, and does.
    let frontend = system.container("frontend");
    let identity = frontend.identity();
    frontend.svctl("restart app");
    assert_eq!(frontend.identity(), identity);
    browser.wait_for("it has come again", "!window.since && document.querySelector('h1')");
    fs::write(&file, text.replace("<h1>Things to do</h1>", "<h1>Once more</h1>")).unwrap();
    browser.wait_for("it shows that as well", "document.querySelector('h1').innerText === 'Once more'");
}
