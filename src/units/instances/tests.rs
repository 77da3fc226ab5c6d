//! Several units from one file: what they are, what they cannot be, and what is said about that.

use insta::assert_snapshot;

use super::scaled;
use crate::units::name::UnitName;
use crate::units::reading::{Reading, read, read_scaled};
use crate::units::show::effective;
use crate::units::source::Source;
use crate::units::spec::UnitSet;

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(name, text)| Source::unit(format!("{name}.toml"), *text)).collect()
}

fn good(files: &[(&str, &str)]) -> Reading {
    read(&sources(files), &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn said(files: &[(&str, &str)]) -> String {
    match read(&sources(files), &|_| None) {
        Ok(reading) => reading.warnings.iter().map(|problem| format!("{problem}\n")).collect(),
        Err(problems) => problems.to_string(),
    }
}

fn names(set: &UnitSet) -> Vec<&str> {
    set.units.keys().map(UnitName::as_str).collect()
}

const WEB: &str = "command = 'serve --port 800${SVINIT_INSTANCE}'\ninstances = 3\naliases = ['django']\n";

#[test]
fn one_file_makes_several_units_each_with_its_number() {
    let reading = good(&[("web", WEB), ("db", "command = 'db'")]);
    let set = &reading.set;
    assert_eq!(names(set), ["db", "web@1", "web@2", "web@3"]);
    assert_eq!(set.units["web@2"].command.0, ["serve", "--port", "8002"]);
    assert_eq!(set.units["web@2"].group().unwrap().as_str(), "web");
    assert_eq!(reading.instances[&UnitName::plain("web").unwrap()], 3);
    let of = |name: &str| set.named(name).iter().map(|spec| spec.name.to_string()).collect::<Vec<_>>();
    assert_eq!(of("web"), ["web@1", "web@2", "web@3"]);
    assert_eq!(of("django"), of("web"));
    assert_eq!(
        (of("web@3"), of("db"), of("we")),
        (vec!["web@3".to_owned()], vec!["db".to_owned()], Vec::new())
    );
    assert!(effective(&set.units["web@2"]).starts_with("# web@2 is number 2 of web\n"));
}

#[test]
fn one_instance_is_an_instance_too_and_none_is_a_unit_of_its_own() {
    assert_eq!(names(&good(&[("web", "command = 'a'\ninstances = 1")]).set), ["web@1"]);
    assert_eq!(names(&good(&[("web", "command = 'a'")]).set), ["web"]);
}

#[test]
fn another_number_than_that_of_the_file_can_be_had() {
    let scale = |group: &UnitName, written| if group.as_str() == "web" { written + 2 } else { written };
    let files = [("web", "command = 'a'\ninstances = 2"), ("api", "command = 'a'\ninstances = 1")];
    let reading = read_scaled(&sources(&files), &|_| None, &scale).unwrap();
    assert_eq!(names(&reading.set), ["api@1", "web@1", "web@2", "web@3", "web@4"]);
    assert_eq!(reading.instances[&UnitName::plain("web").unwrap()], 2);
}

#[test]
fn a_relation_to_a_group_is_one_to_all_of_it() {
    let reading = good(&[
        ("web", "command = 'a'\ninstances = 2\nrequires = ['db']\nbefore = ['proxy']\naliases = ['django']"),
        ("db", "command = 'a'"),
        ("proxy", "command = 'a'"),
        ("tool", "command = 'a'\nrequires = ['django']\nconflicts = ['other']"),
        ("other", "command = 'a'\ninstances = 2\nenabled = false"),
    ]);
    let of = |name: &str| reading.set.units[name].clone();
    let texts = |names: &[UnitName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&of("tool").requires), ["web@1", "web@2"]);
    assert_eq!(texts(&of("proxy").after), ["web@1", "web@2"]);
    assert_eq!(texts(&of("web@2").requires), ["db"]);
    assert_eq!(
        (texts(&of("tool").conflicts), texts(&of("other@1").conflicts)),
        (vec!["other@1".to_owned(), "other@2".to_owned()], vec!["tool".to_owned()])
    );
}

#[test]
fn a_set_with_another_number_of_instances_is_the_one_that_would_have_been_read() {
    let files = |count: u32| {
        let web = format!("command = 'a'\ninstances = {count}\nbefore = ['proxy']\nconflicts = ['x']");
        let tool = "command = 'a'\nafter = ['db', 'web', 'proxy']";
        let files =
            [("web", web.as_str()), ("proxy", "command = 'a'"), ("tool", tool), ("db", "command = 'a'")];
        let x = [("x", "command = 'a'\nenabled = false")];
        good(&[&files[..], &x[..]].concat()).set
    };
    let web = UnitName::plain("web").unwrap();
    for (from, to) in [(1, 3), (3, 1), (2, 2), (9, 11)] {
        let specs: Vec<_> = files(to).instances("web").into_iter().cloned().collect();
        let (found, wanted) = (scaled(&files(from), &web, &specs), files(to));
        assert_eq!(found.units.keys().collect::<Vec<_>>(), wanted.units.keys().collect::<Vec<_>>());
        for (name, spec) in &wanted.units {
            assert_eq!(*found.units[name], **spec, "{from} to {to}");
        }
    }
}

#[test]
fn a_text_can_be_read_for_one_instance_alone() {
    let name = UnitName::new("web@7").unwrap();
    let one = Source::of(&name, "web.toml", "command = 'run ${SVINIT_INSTANCE}'\ninstances = 2");
    let set = read(&[one], &|_| None).unwrap().set;
    assert_eq!(names(&set), ["web@7"]);
    assert_eq!(set.units["web@7"].command.0, ["run", "7"]);
}

#[test]
fn all_instances_share_a_socket_unless_its_address_has_the_number_in_it() {
    let text = "command = 'a'\ninstances = 2\n[sockets]\nhttp = '127.0.0.1:8000'\nadmin = '127.0.0.1:900${SVINIT_INSTANCE}'";
    let set = good(&[("web", text)]).set;
    let of = |name: &str| {
        let sockets = &set.units[name].sockets;
        sockets.iter().map(|one| (one.address.to_string(), one.is_of_instance)).collect::<Vec<_>>()
    };
    assert_eq!(of("web@1"), [("127.0.0.1:8000".to_owned(), false), ("127.0.0.1:9001".to_owned(), true)]);
    assert_eq!(of("web@2")[1], ("127.0.0.1:9002".to_owned(), true));
}

#[test]
fn what_several_cannot_have_in_common_is_told_once_with_place_and_remedy() {
    let text = "command = 'a'
instances = 3
pid_file = '/run/web.pid'
type = 'forking'
[ready]
http = 'http://127.0.0.1:8000/health'
[health]
tcp = '127.0.0.1:8000'
[log]
file = '/var/log/web.log'";
    assert_snapshot!(said(&[("web", text)]), @r"
    web.toml:3:12: all instances would have this file: it can name one of them only; write ${SVINIT_INSTANCE} into its name
      3 | pid_file = '/run/web.pid'
        |            ^^^^^^^^^^^^^^
    web.toml:6:8: all instances would listen at this one address, and svinit does not hold it for them; write the port with ${SVINIT_INSTANCE}, as in 800${SVINIT_INSTANCE}, or hold the address in [sockets]
      6 | http = 'http://127.0.0.1:8000/health'
        |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    web.toml:8:7: all instances would listen at this one address, and svinit does not hold it for them; write the port with ${SVINIT_INSTANCE}, as in 800${SVINIT_INSTANCE}, or hold the address in [sockets]
      8 | tcp = '127.0.0.1:8000'
        |       ^^^^^^^^^^^^^^^^
    web.toml:10:8: all instances would have this file: each rotates it under the other; write ${SVINIT_INSTANCE} into its name
      10 | file = '/var/log/web.log'
         |        ^^^^^^^^^^^^^^^^^^
    ");
    let shared = "command = 'a'
instances = 2
[sockets]
http = '0.0.0.0:8000'
[ready]
http = 'http://127.0.0.1:8000/health'
[health]
http = 'http://127.0.0.1:8000/health'";
    assert_snapshot!(said(&[("web", shared)]), @r"
    web.toml:6:8: all instances share this address, and any of them may answer: that says nothing about this one in [ready]; use notify, log, fd or delay, or an exec that can tell them apart by $SVINIT_INSTANCE
      6 | http = 'http://127.0.0.1:8000/health'
        |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    web.toml:8:8: warning: all instances share this address: whichever of them answers speaks for all; give each an address of its own with ${SVINIT_INSTANCE}, or use exec
      8 | http = 'http://127.0.0.1:8000/health'
        |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
    assert_eq!(said(&[("web", &shared.replace("8000", "800${SVINIT_INSTANCE}"))]), "");
    assert_eq!(said(&[("web", &text.replace("instances = 3", "instances = 1"))]), "");
}

#[test]
fn other_mistakes_about_instances_are_told() {
    assert_snapshot!(said(&[
        ("job", "command = 'a'\ninstances = 2\ntype = 'oneshot'"),
        ("many", "command = 'a'\ninstances = 101\nafter = ['web@1', 'many']"),
        ("web", "command = 'a'\ninstances = 2\naliases = ['web', 'job']\n[environment]\nSVINIT_INSTANCE = 'x'"),
        ("x@2", "command = 'a'"),
    ]), @r#"
    job.toml:2:13: a oneshot is done once: there cannot be several instances of it; take instances away, or write type = "simple" for a service
      2 | instances = 2
        |             ^
    many.toml:2:13: expected a whole number from 1 to 100, found 101
      2 | instances = 101
        |             ^^^
    many.toml:3:10: expected the name of a unit, found "web@1": one of several instances cannot be named here; write "web", which means all of them
      3 | after = ['web@1', 'many']
        |          ^^^^^^^
    web.toml:3:12: web is its name already
      3 | aliases = ['web', 'job']
        |            ^^^^^
    web.toml:3:19: job cannot be an alias of web: a unit has that name
      3 | aliases = ['web', 'job']
        |                   ^^^^^
    web.toml:5:1: SVINIT_INSTANCE is set by svinit itself
      5 | SVINIT_INSTANCE = 'x'
        | ^^^^^^^^^^^^^^^
    x@2.toml: the file name is the unit's name: a unit name has letters, digits, '.', '_' and '-' only, not '@'; rename the file
    "#);
    assert_snapshot!(said(&[("plain", "command = 'a ${SVINIT_INSTANCE}'")]), @r"
    plain.toml:1:14: warning: SVINIT_INSTANCE is not set, so nothing stands here; write ${SVINIT_INSTANCE:-} if that is meant, ${SVINIT_INSTANCE:?why} if it must be set
      1 | command = 'a ${SVINIT_INSTANCE}'
        |              ^^^^^^^^^^^^^^^^^^
    ");
    let circle = said(&[
        ("web", "command = 'a'\ninstances = 2\nafter = ['db']"),
        ("db", "command = 'a'\ninstances = 2\nafter = ['web']"),
    ]);
    assert_eq!(circle.matches("in a circle: db after web, web after db").count(), 1, "{circle}");
}

#[test]
fn a_port_that_one_instance_only_can_have_is_warned_of() {
    let text = "command = ['gunicorn', '-b', '0.0.0.0:8000', 'app']\ninstances = 3\nenvironment = { PORT = '8080', PGPORT = '5432' }";
    assert_snapshot!(said(&[("web", text)]), @r#"
    web.toml:1:11: warning: all instances seem to listen at "0.0.0.0:8000", which one of them only can; hold it in [sockets], which they share, write the port with ${SVINIT_INSTANCE}, as in 800${SVINIT_INSTANCE}, or have the program share it (--reuse-port)
      1 | command = ['gunicorn', '-b', '0.0.0.0:8000', 'app']
        |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    web.toml:3:17: warning: all instances seem to listen at "8080", which one of them only can; hold it in [sockets], which they share, write the port with ${SVINIT_INSTANCE}, as in 800${SVINIT_INSTANCE}, or have the program share it (--reuse-port)
      3 | environment = { PORT = '8080', PGPORT = '5432' }
        |                 ^^^^
    "#);
    let shell = "shell = 'exec serve --port 8000'\ninstances = 2";
    assert!(
        said(&[("web", shell)])
            .starts_with("web.toml:1:9: warning: all instances seem to listen at \"8000\"")
    );
    for sound in [
        text.replace("instances = 3", "instances = 1"),
        text.replace("8000", "800${SVINIT_INSTANCE}").replace("8080", "808${SVINIT_INSTANCE}"),
        text.replace("PORT = '8080', ", "") + "\nsockets.http = '0.0.0.0:8000'",
        text.replace("PORT = '8080', ", "").replace("'-b'", "'--reuse-port', '-b'"),
        shell.replace("--port 8000", "--queue 8000"),
    ] {
        assert_eq!(said(&[("web", &sound)]), "", "{sound}");
    }
}
