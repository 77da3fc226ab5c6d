//! What files of the manager mean, and what is said about those that mean nothing.

use super::*;
use crate::manager::config::spec::{Balance, Cidr, HashOn};

fn read_text(text: &str) -> Result<Reading, String> {
    read(&Source::manager("manager.toml", text), &|name| (name == "PORT").then(|| "8000".to_owned()))
        .map_err(|problems| problems.to_string())
}

/// What is said about `text`, without the lines and carets.
fn said(text: &str) -> Vec<String> {
    let all = match read_text(text) {
        Ok(reading) => Problems(reading.warnings).to_string(),
        Err(problems) => problems,
    };
    all.lines().filter(|line| line.starts_with("manager.toml:")).map(str::to_owned).collect()
}

const WHOLE: &str = r#"
listen = "0.0.0.0:80"
trusted_proxies = ["10.0.0.0/8"]
[admin]
listen = "127.0.0.1:9600"
token_file = "/run/secrets/admin_token"
[cors]
allow_origins = ["https://app.example"]
allow_credentials = true
[[route]]
path = "/api/health"
exact = true
rewrite = "/health"
service = "backend"
[[route]]
path = "/api/"
service = "backend"
[[route]]
path = "/"
service = "frontend"
[service.frontend]
targets = ["http://frontend:5173"]
[service.backend]
targets = ["http://backend:${PORT}"]
balance = "hash"
hash_on = "cookie:session"
control = { driver = "docker", container = "backend", unit = "gunicorn" }
health = { http = "/health", interval = "10s", timeout = "3s", retries = 3 }
park = { max_requests = 200, timeout = "10s" }
recovery = { ladder = ["reload", "restart-unit", "restart-container", "alert"], cooldown = "30s" }
[service.database]
targets = ["tcp://database:3306"]
health = { tcp = true }
"#;

#[test]
fn the_file_of_the_design_is_read() {
    let Reading { config, warnings } = read_text(WHOLE).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.trusted_proxies, [Cidr::parse("10.0.0.0/8").unwrap()]);
    assert_eq!(config.routes.len(), 3);
    assert_eq!(config.routes[0].rewrite.as_deref(), Some("/health"));
    let backend = &config.services["backend"];
    assert_eq!(backend.targets[0].to_string(), "http://backend:8000");
    assert_eq!((backend.balance, &backend.hash_on), (Balance::Hash, &HashOn::Cookie("session".into())));
    assert_eq!(backend.health.as_ref().unwrap().check, Check::Http("/health".into()));
    assert_eq!(backend.recovery.ladder.len(), 4);
    assert_eq!(backend.control.as_ref().unwrap().unit.as_str(), "gunicorn");
    assert!(!config.services["database"].is_http());
    assert_eq!(config.services["frontend"].recovery.ladder, [Rung::Alert]);
    assert_eq!(config.services["frontend"].park.max_requests, 200);
}

#[test]
fn a_mistake_is_shown_with_its_place_and_what_was_meant() {
    let problems = read_text(
        "[[route]]\nservice = \"back\"\n[service.backend]\ntargets = [\"http://b:1\"]\nbalanse = \"hash\"\n",
    )
    .unwrap_err();
    let expected = "manager.toml:2:11: there is no service \"back\"; did you mean \"backend\"?\n  \
                    2 | service = \"back\"\n    |           ^^^^^^\n\
                    manager.toml:3:10: warning: no route leads to \"backend\"; write a [[route]], or tcp:// in its targets if it is to be watched only\n  \
                    3 | [service.backend]\n    |          ^^^^^^^\n\
                    manager.toml:5:1: no such key in [service.backend]: \"balanse\"; did you mean \"balance\"?\n  \
                    5 | balanse = \"hash\"\n    | ^^^^^^^\n";
    assert_eq!(problems, expected);
}

/// Each text, the line in which the problem is, and words of it.
#[test]
fn every_contradiction_is_an_error_with_a_remedy() {
    let service = "[service.a]\ntargets = [\"http://a:1\"]\n";
    let route = "[[route]]\nservice = \"a\"\n";
    for (text, words) in [
        (
            "[cors]\nallow_origins = [\"*\"]\nallow_credentials = true",
            "2:18: with credentials \"*\" would let every page",
        ),
        (
            "[cors]\nallow_origins = [\"null\"]",
            "2:18: expected an origin like \"https://app.example\", or \"*\", found \"null\"",
        ),
        ("[cors]\nallow_origins = [\"https://a.example/\"]", "write \"https://a.example\""),
        ("[cors]\nallow_origins = [\"https://a.example:443\"]", "browsers leave the usual port out"),
        ("[cors]\nallow_credentials = true", "1:2: [cors] allows no origin"),
        ("[admin]\nlisten = \"0.0.0.0:9600\"", "2:10: whoever reaches this address could do anything"),
        ("trusted_proxies = [\"10.0.0.1/8\"]", "bits are set behind its length"),
        ("listen = 80", "write \"0.0.0.0:80\""),
        ("listen = []", "there is no address to listen on"),
        ("[[route]]\npath = \"api\"\nservice = \"a\"", "write \"/api\""),
        ("[[route]]\npath = \"/a/../b\"\nservice = \"a\"", "write \"/b\""),
        ("[[route]]\npath = \"/a\"", "1:1: this route leads nowhere"),
        ("[route]\npath = \"/a\"", "write [[route]], twice the brackets"),
        (
            "[[route]]\nservice = \"a\"\nstrip = true\nrewrite = \"/b\"",
            "3:9: strip and rewrite both change the path",
        ),
        ("[[route]]\nservice = \"a\"\nhost = \"a.example:80\"", "the port is not looked at: leave it out"),
        ("[service.\"a b\"]\ntargets = [\"http://a:1\"]", "is no name of a service"),
        ("[service.b]", "1:10: service \"b\" has no targets"),
        ("[service.b]\ntargets = [\"b:8000\"]", "write \"http://b:8000\""),
        ("[service.b]\ntargets = [\"https://b\"]", "the way to services is plain http"),
        ("[service.b]\ntargets = [\"http://b:1/x\"]", "write \"http://b:1\"; a path is changed by rewrite"),
        ("[service.b]\ntargets = [\"http://b:1\", \"tcp://b:2\"]", "all http:// or all tcp://"),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\ndiscover = { compose_service = \"b\", port = 1 }",
            "has targets and discover",
        ),
        ("[service.b]\ndiscover = { compose_service = \"b\" }", "discover of \"b\" lacks port"),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\nhealth = { interval = \"1s\" }",
            "health of \"b\" asks nothing",
        ),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\nhealth = { http = \"/\", tcp = true }",
            "http and tcp contradict each other",
        ),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\nhealth = { http = \"/\", interval = 10 }",
            "write \"10s\" for seconds",
        ),
        ("[service.b]\ntargets = [\"http://b:1\"]\nhash_on = \"path\"", "hash_on is for balance = \"hash\""),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\nbalance = \"round-robbin\"",
            "did you mean \"round-robin\"?",
        ),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\ncontrol = { driver = \"docker\" }",
            "driver = \"docker\" needs container",
        ),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\ncontrol = { driver = \"socket\", url = \"http://b/\" }",
            "url means nothing with driver = \"socket\"",
        ),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\nrecovery = { ladder = [\"reload\"] }",
            "nothing can be done about service \"b\" without its control",
        ),
        (
            "[service.b]\ntargets = [\"http://b:1\"]\nrecovery = { ladder = [\"restart\"] }",
            "did you mean \"restart-unit\"",
        ),
        ("[service.b]\ntargets = [\"tcp://b:1\"]\nhealth = { http = \"/\" }", "so it is not asked by HTTP"),
        ("listn = \"0.0.0.0:80\"", "did you mean \"listen\"?"),
        (
            "[limits]\nbody_sise = \"1M\"",
            "no such key in [limits]: \"body_sise\"; did you mean \"body_size\"?",
        ),
        ("[[route]]\nservise = \"a\"", "no such key in [route]: \"servise\""),
        ("a = [", "not TOML"),
    ] {
        let text = if text.contains("\"a\"") && !text.contains("[service") {
            format!("{text}\n{service}")
        } else {
            text.to_owned()
        };
        let said = read_text(&text).map(|_| ()).expect_err(&text);
        assert!(said.contains(words), "{text}\nsays\n{said}\nand not {words}");
    }
    assert_eq!(said(&format!("{service}{route}")), [] as [&str; 0]);
    let twice = said(&format!("{service}{route}{route}"));
    assert_eq!(twice, ["manager.toml:5:1: another route above has \"/\" already, for the same host"]);
}

#[test]
fn a_network_holds_its_addresses_and_no_others() {
    let holds = |cidr: &str, address: &str| Cidr::parse(cidr).unwrap().contains(address.parse().unwrap());
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
    assert!(
        holds("10.0.0.0/8", "::ffff:10.1.2.3") && holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1")
    );
    assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1") && holds("::/0", "::1"));
    assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
}
