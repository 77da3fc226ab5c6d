//! Sockets from texts: their order, their layers, and every mistake in its words.

use insta::assert_snapshot;

use crate::units::reading::{Reading, read};
use crate::units::show::effective;
use crate::units::socket::{SocketSpec, SocketType};
use crate::units::source::Source;

/// Each source after a line `== path`.
fn sources(text: &str) -> Vec<Source> {
    let parts = text.split("== ").filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (path, text) = part.split_once('\n').unwrap_or((part, ""));
            let path = path.trim();
            if path.ends_with("svinit.toml") { Source::daemon(path, text) } else { Source::unit(path, text) }
        })
        .collect()
}

fn env(name: &str) -> Option<String> {
    (name == "PORT").then(|| "8000".to_owned())
}

fn good(text: &str) -> Reading {
    read(&sources(text), &env).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(text: &str) -> String {
    read(&sources(text), &env).map(|_| ()).unwrap_err().to_string()
}

fn sockets(text: &str) -> Vec<SocketSpec> {
    good(text).set.find("web").unwrap().sockets.clone()
}

fn shown(sockets: &[SocketSpec]) -> String {
    sockets.iter().map(|socket| format!("{}={socket} ", socket.name)).collect()
}

#[test]
fn they_are_in_the_order_in_which_they_were_written() {
    let text = "== web.toml\ncommand = 'x'\n[sockets]\nweb = '0.0.0.0:${PORT}'\nadmin = '[::1]:81'\n\
                [sockets.log]\naddress = 'unix:/run/log'\ntype = 'datagram'";
    assert_eq!(shown(&sockets(text)), "web=0.0.0.0:8000 admin=[::1]:81 log=unix:/run/log (datagrams) ");
}

#[test]
fn a_layer_that_changes_one_does_not_renumber_the_others() {
    let text = "== a/web.toml\ncommand = 'x'\n[sockets]\nweb = '0.0.0.0:80'\nadmin = {address = '0.0.0.0:81', backlog = 7}\n\
                == b/web.toml\n[sockets]\nextra = '0.0.0.0:82'\nweb = '0.0.0.0:8080'\nadmin.reuse_port = true\n\
                == c/web.toml\n[sockets]\nweb = {backlog = 9}";
    let all = sockets(text);
    assert_eq!(shown(&all), "web=0.0.0.0:8080 admin=0.0.0.0:81 extra=0.0.0.0:82 ");
    assert_eq!(all.iter().map(|socket| socket.backlog).collect::<Vec<_>>(), [9, 7, 4096]);
    assert_eq!(all.iter().map(|socket| socket.reuse_port).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn every_key_reaches_the_socket_and_is_shown_so_that_it_is_read_again() {
    let text = "== web.toml\ncommand = 'x'\n[sockets.z]\naddress = 'unix:/run/a b.sock'\nmode = '600'\nowner = 'app'\ngroup = '12'\n\
                [sockets.y]\naddress = '[::]:53'\ntype = 'datagram'\nreuse_port = true\nv6only = true\n\
                [sockets.'a b']\naddress = '0.0.0.0:53'\nbacklog = 3\nreuse_port = true";
    let reading = good(text);
    let web = reading.set.find("web").unwrap();
    let [unix, udp, tcp] = &web.sockets[..] else { panic!("{:?}", web.sockets) };
    assert_eq!((unix.mode, unix.owner.as_deref(), unix.group.as_deref()), (0o600, Some("app"), Some("12")));
    assert_eq!((udp.r#type, udp.reuse_port, udp.v6only), (SocketType::Datagram, true, true));
    assert_eq!((tcp.r#type, tcp.backlog, tcp.v6only), (SocketType::Stream, 3, false));
    let effective = effective(web);
    let section: Vec<&str> = effective
        .lines()
        .skip_while(|line| *line != "[sockets]")
        .take_while(|line| !line.is_empty())
        .collect();
    assert_snapshot!(section.join("\n"), @r#"
[sockets]
z = { address = "unix:/run/a b.sock", type = "stream", backlog = 4096, mode = "0600", owner = "app", group = "12" }
y = { address = "[::]:53", type = "datagram", reuse_port = true, v6only = true }
"a b" = { address = "0.0.0.0:53", type = "stream", backlog = 3, reuse_port = true }
"#);
    let again = read(&[Source::unit("web.toml", effective)], &|_| None).unwrap();
    assert_eq!(again.set, reading.set);
}

#[test]
fn every_mistake_in_one_unit_is_told_with_its_place_and_remedy() {
    assert_snapshot!(bad("== web.toml
command = 'x'
[ready]
fd = 4
[sockets]
a = ':80'
b = 80
'c:d' = '0.0.0.0:1'
e = {backlog = 3}
f = {address = '0.0.0.0:2', mode = '0660', owner = 'x', group = 'y', v6only = true}
g = {address = 'unix:/a', reuse_port = true}
h = {address = '0.0.0.0:3', type = 'datagram', backlog = 3}
i = {address = '0.0.0.0:4', type = 'dgram', backlog = 0, mode = '9', prot = 1}
j = '0.0.0.0:0'
"), @r#"
web.toml:3:6: descriptor 4 is the socket "b" of this unit; sockets come first: write fd = 12
  3 | fd = 4
    |      ^
web.toml:5:5: expected an address like "0.0.0.0:8000", "[::]:8000" or "unix:/run/app.sock", found ":80"; write "0.0.0.0:80" or "[::]:80" for every address
  5 | a = ':80'
    |     ^^^^^
web.toml:6:5: expected an address like "0.0.0.0:8000", "[::]:8000" or "unix:/run/app.sock", found 80; write "0.0.0.0:80"
  6 | b = 80
    |     ^^
web.toml:7:1: the name of a socket has no colon: names stand between colons in LISTEN_FDNAMES
  7 | 'c:d' = '0.0.0.0:1'
    | ^^^^^
web.toml:8:1: socket "e" has no address; write address = "0.0.0.0:8000", "[::]:8000" or "unix:/run/app.sock"
  8 | e = {backlog = 3}
    | ^
web.toml:9:36: mode is of unix sockets, and 0.0.0.0:2 is none: it has no file
  9 | f = {address = '0.0.0.0:2', mode = '0660', owner = 'x', group = 'y', v6only = true}
    |                                    ^^^^^^
web.toml:9:52: owner is of unix sockets, and 0.0.0.0:2 is none: it has no file
  9 | f = {address = '0.0.0.0:2', mode = '0660', owner = 'x', group = 'y', v6only = true}
    |                                                    ^^^
web.toml:9:65: group is of unix sockets, and 0.0.0.0:2 is none: it has no file
  9 | f = {address = '0.0.0.0:2', mode = '0660', owner = 'x', group = 'y', v6only = true}
    |                                                                 ^^^
web.toml:9:79: v6only is of IPv6 addresses, and 0.0.0.0:2 is none
  9 | f = {address = '0.0.0.0:2', mode = '0660', owner = 'x', group = 'y', v6only = true}
    |                                                                               ^^^^
web.toml:10:40: reuse_port is of addresses with a port, and unix:/a has none
  10 | g = {address = 'unix:/a', reuse_port = true}
     |                                        ^^^^
web.toml:11:58: backlog is of connections, and a datagram socket has none
  11 | h = {address = '0.0.0.0:3', type = 'datagram', backlog = 3}
     |                                                          ^
web.toml:12:36: expected "stream" or "datagram", found "dgram"
  12 | i = {address = '0.0.0.0:4', type = 'dgram', backlog = 0, mode = '9', prot = 1}
     |                                    ^^^^^^^
web.toml:12:55: expected a whole number from 1 to 65535, found 0
  12 | i = {address = '0.0.0.0:4', type = 'dgram', backlog = 0, mode = '9', prot = 1}
     |                                                       ^
web.toml:12:65: expected octal digits like "0660", found "9"
  12 | i = {address = '0.0.0.0:4', type = 'dgram', backlog = 0, mode = '9', prot = 1}
     |                                                                 ^^^
web.toml:12:65: mode is of unix sockets, and 0.0.0.0:4 is none: it has no file
  12 | i = {address = '0.0.0.0:4', type = 'dgram', backlog = 0, mode = '9', prot = 1}
     |                                                                 ^^^
web.toml:12:70: no such key in [sockets.i]: "prot"
  12 | i = {address = '0.0.0.0:4', type = 'dgram', backlog = 0, mode = '9', prot = 1}
     |                                                                      ^^^^
web.toml:13:5: expected an address like "0.0.0.0:8000", "[::]:8000" or "unix:/run/app.sock", found "0.0.0.0:0": with port 0 the kernel would choose one, and nobody could find it
  13 | j = '0.0.0.0:0'
     |     ^^^^^^^^^^^
"#);
}

#[test]
fn a_oneshot_cannot_have_them() {
    assert_snapshot!(bad("== web.toml\ntype = 'oneshot'\ncommand = 'x'\n[sockets]\na = '0.0.0.0:80'"), @r#"
web.toml:4:1: a oneshot serves nobody: it cannot have [sockets]; take [sockets] away, or write type = "simple" for a service
  4 | a = '0.0.0.0:80'
    | ^
"#);
}

#[test]
fn one_address_cannot_be_held_twice() {
    assert_snapshot!(bad("== svinit.toml
http.listen = '127.0.0.1:9500'
control = {listen = '127.0.0.1:9600', token_file = '/run/secrets/token'}
== a.toml
command = 'x'
[sockets]
one = '0.0.0.0:80'
two = '0.0.0.0:80'
udp = {address = '0.0.0.0:80', type = 'datagram'}
== b.toml
command = 'x'
[sockets]
http = '127.0.0.1:80'
health = '[::]:9500'
file = 'unix:/run/app.sock'
== c.toml
command = 'x'
[sockets]
file = {address = 'unix:/run/app.sock', type = 'datagram'}
shared = {address = '0.0.0.0:81', reuse_port = true}
== d.toml
command = 'x'
[sockets]
shared = {address = '0.0.0.0:81', reuse_port = true}
twice = {address = '0.0.0.0:81', reuse_port = true}
api = '127.0.0.1:9600'
== e.toml
command = 'x'
[sockets]
shared = '0.0.0.0:81'
"), @r#"
a.toml:4:7: 0.0.0.0:80 is held already, as "one" of this unit; one of the two is enough, or take another address
  4 | two = '0.0.0.0:80'
    |       ^^^^^^^^^^^^
b.toml:3:8: 127.0.0.1:80 cannot be held beside 0.0.0.0:80, which is "one" of a; take another address, or write reuse_port = true in both, which share the connections then
  3 | http = '127.0.0.1:80'
    |        ^^^^^^^^^^^^^^
b.toml:4:10: [::]:9500 is where svinit itself serves /health, as svinit.toml says; take another address here or there
  4 | health = '[::]:9500'
    |          ^^^^^^^^^^^
c.toml:3:19: unix:/run/app.sock is held already, as "file" of b; take another path
  3 | file = {address = 'unix:/run/app.sock', type = 'datagram'}
    |                   ^^^^^^^^^^^^^^^^^^^^
d.toml:4:20: 0.0.0.0:81 is held already, as "shared" of this unit; one of the two is enough, or take another address
  4 | twice = {address = '0.0.0.0:81', reuse_port = true}
    |                    ^^^^^^^^^^^^
d.toml:5:7: 127.0.0.1:9600 is where svinit itself serves the control API, as svinit.toml says; take another address here or there
  5 | api = '127.0.0.1:9600'
    |       ^^^^^^^^^^^^^^^^
e.toml:3:10: 0.0.0.0:81 is held already, as "shared" of c; take another address, or write reuse_port = true in both, which share the connections then
  3 | shared = '0.0.0.0:81'
    |          ^^^^^^^^^^^^
"#);
}

#[test]
fn a_check_that_only_connects_to_a_held_socket_is_warned_of() {
    let text = "== web.toml
command = 'x'
[sockets]
http = '0.0.0.0:80'
[ready]
tcp = 'localhost:80'
[health]
tcp = '127.0.0.1:80'
== sock.toml
command = 'x'
[sockets]
http = 'unix:/run/app.sock'
[ready]
unix = '/run/app.sock'
[health]
tcp = '127.0.0.1:80'
";
    let said: String = good(text).warnings.iter().map(|problem| format!("{problem}\n")).collect();
    assert_snapshot!(said, @r#"
web.toml:5:7: warning: svinit holds this socket itself, so connecting always succeeds, whether or not anybody serves: this says nothing in [ready]; use http, notify or log
  5 | tcp = 'localhost:80'
    |       ^^^^^^^^^^^^^^
web.toml:7:7: warning: svinit holds this socket itself, so connecting always succeeds, whether or not anybody serves: this says nothing in [health]; use http or exec
  7 | tcp = '127.0.0.1:80'
    |       ^^^^^^^^^^^^^^
sock.toml:5:8: warning: svinit holds this socket itself, so connecting always succeeds, whether or not anybody serves: this says nothing in [ready]; use http, notify or log
  5 | unix = '/run/app.sock'
    |        ^^^^^^^^^^^^^^^
"#);
}

#[test]
fn a_unit_has_not_too_many_of_them() {
    let many: String = (1..=65).map(|port| format!("s{port} = '0.0.0.0:{port}'\n")).collect();
    let said = bad(&format!("== web.toml\ncommand = 'x'\n[sockets]\n{many}"));
    assert!(said.starts_with("web.toml:67:1: a unit has at most 64 sockets"), "{said}");
}

#[test]
fn a_key_below_the_table_that_belongs_above_it_is_told_so() {
    let said = bad("== web.toml\ncommand = 'x'\n[sockets]\nenabled = true");
    assert!(
        said.contains("\"enabled\" is a key of the file itself: write it above the first [table]"),
        "{said}"
    );
}

#[test]
fn the_address_of_health_is_warned_of_while_nobody_has_chosen_another() {
    let unit = "== web.toml\ncommand = 'x'\n[sockets]\nhttp = '127.0.0.1:9500'\n";
    let said: String = good(unit).warnings.iter().map(|problem| format!("{problem}\n")).collect();
    assert_snapshot!(said, @r#"
web.toml:3:8: warning: 127.0.0.1:9500 is where svinit itself serves /health unless it is told otherwise; take another address, or write listen = "off" or another one below [http] of svinit.toml
  3 | http = '127.0.0.1:9500'
    |        ^^^^^^^^^^^^^^^^
"#);
    let udp = unit.replace("'127.0.0.1:9500'", "{ address = '127.0.0.1:9500', type = 'datagram' }");
    assert!(good(&udp).warnings.is_empty());
}

#[test]
fn a_daemon_that_forks_is_warned_that_it_finds_none() {
    let unit = "== web.toml\ncommand = 'x'\ntype = 'forking'\npid_file = '/run/x.pid'\n[sockets]\nhttp = '127.0.0.1:80'\n";
    let said: String = good(unit).warnings.iter().map(ToString::to_string).collect();
    assert!(said.contains("never the process that LISTEN_PID names: it finds no [sockets]"), "{said}");
    assert!(good(&unit.replace("type = 'forking'\npid_file = '/run/x.pid'\n", "")).warnings.is_empty());
}

#[test]
fn a_shell_that_stays_is_warned_of_and_one_that_makes_room_is_not() {
    let said = |command: &str| {
        let text = format!("== web.toml\n{command}\n[sockets]\nhttp = '127.0.0.1:80'\n");
        good(&text).warnings.iter().map(|problem| format!("{problem}\n")).collect::<String>()
    };
    assert_snapshot!(said("shell = 'cd /app; serve'"), @r"
    web.toml:1:9: warning: LISTEN_PID names the shell, so the program that it starts may find no [sockets]; write exec in front of the program
      1 | shell = 'cd /app; serve'
        |         ^^^^^^^^^^^^^^^^
    ");
    let told = said("command = ['/bin/bash', '-ec', 'serve']");
    assert!(told.starts_with("web.toml:1:11: warning: LISTEN_PID names the shell"), "{told}");
    for sound in [
        "shell = 'exec serve'",
        "shell = 'cd /app && exec serve'",
        "shell = 'uvicorn --fd 3 app'",
        "command = ['sh', '-c', 'umask 2;exec serve']",
        "command = ['serve', '-c', 'x']",
    ] {
        assert_eq!(said(sound), "", "{sound}");
    }
    assert!(good("== web.toml\nshell = 'serve'").warnings.is_empty(), "without sockets it is no matter");
}

#[test]
fn the_places_of_sockets_are_kept_beside_the_units() {
    let text = "== web.toml\ncommand = 'x'\nuser = 'app'\n[sockets]\nhttp = '127.0.0.1:80'\nfile = { address = 'unix:/run/a', owner = 'root' }\n\
                == job.toml\ncommand = 'x'\n";
    let (all, read) = (sources(text), good(text));
    assert_eq!(read.places.keys().map(ToString::to_string).collect::<Vec<_>>(), ["web"]);
    let web = read.places.values().next().unwrap();
    let text = |at: crate::units::source::Place| &all[at.source].text[at.start..at.end];
    assert_eq!(web.user.map(text), Some("'app'"));
    assert_eq!(text(web.sockets["http"].address), "'127.0.0.1:80'");
    let file = web.sockets["file"];
    assert_eq!(
        (text(file.address), file.owner.map(text), file.group),
        ("'unix:/run/a'", Some("'root'"), None)
    );
}
