//! What is started, in which order, and how svinit knows that it is up.

use std::os::unix::net::UnixDatagram;

use crate::fixture::{Setup, Svinit};

/// The position of the first line that contains `part`.
fn position(svinit: &Svinit, part: &str) -> usize {
    svinit.wait_for_line(part);
    svinit.output().lines().position(|line| line.contains(part)).unwrap()
}

#[test]
fn what_is_required_is_complete_before_what_requires_it_starts() {
    let svinit = Setup::new()
        .unit("migrate", "type = \"oneshot\"\ncommand = [\"sh\", \"-c\", \"sleep 0.2; echo migrated\"]")
        .unit("web", "requires = [\"migrate\"]\ncommand = [\"sh\", \"-c\", \"echo serving; exec sleep 600\"]")
        .start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("migrate", "completed");
    assert!(position(&svinit, "migrate | migrated") < position(&svinit, "web | serving"));
}

#[test]
fn a_unit_that_is_not_enabled_is_not_started() {
    let svinit = Setup::new()
        .unit("web", "command = [\"sleep\", \"600\"]")
        .unit("tool", "enabled = false\ncommand = [\"sleep\", \"600\"]")
        .start();
    svinit.wait_for("web", "ready");
    assert_eq!(svinit.status("tool")["state"], "inactive");
}

#[test]
fn a_line_of_output_can_be_the_sign_of_readiness() {
    let text = "ready.log = \"listening on [0-9]+\"\ncommand = [\"sh\", \"-c\", \
                \"echo warming up; sleep 0.1; echo listening on 80; exec sleep 600\"]";
    let svinit = Setup::new().unit("web", text).start();
    svinit.wait_for("web", "ready");
    assert!(position(&svinit, "web | listening on 80") < position(&svinit, "web: ready"));
}

#[test]
fn a_newline_on_a_descriptor_can_be_the_sign_of_readiness() {
    let text = "ready.fd = 3\ncommand = [\"sh\", \"-c\", \"sleep 0.1; echo now; echo >&3; exec sleep 600\"]";
    let svinit = Setup::new().unit("web", text).start();
    svinit.wait_for("web", "ready");
    assert!(position(&svinit, "web | now") < position(&svinit, "web: ready"));
}

/// Not a test by itself: the service of the next one, when that has started this executable.
#[test]
fn as_a_service_that_notifies() {
    let Some(socket) =
        std::env::var_os("NOTIFY_SOCKET").filter(|_| std::env::var_os("IT_NOTIFIES").is_some())
    else {
        return;
    };
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"STATUS=warm\nREADY=1", socket).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_service_can_say_itself_that_it_is_ready() {
    let own = std::env::current_exe().unwrap();
    let text = format!(
        "type = \"notify\"\ncommand = [{own:?}, \"--exact\", \"boot::as_a_service_that_notifies\"]\n\
         [environment]\nIT_NOTIFIES = \"1\""
    );
    let svinit = Setup::new().unit("web", &text).start();
    svinit.wait_for("web", "ready");
    assert_eq!(svinit.status("web")["status_text"], "warm");
}

#[test]
fn bad_units_are_all_told_and_nothing_is_started() {
    let svinit = Setup::new()
        .unit("a", "command = [\"touch\", \"{dir}/started\"]")
        .unit("b", "comand = [\"true\"]")
        .unit("c", "command = [\"true\"]\nrequires = [\"nobody\"]")
        .launch();
    assert_eq!(svinit.wait_for_end(), 78);
    let said = svinit.output();
    assert!(said.contains("did you mean \"command\"?"), "{said}");
    assert!(said.contains("nobody"), "{said}");
    assert!(!svinit.path("started").exists());
}

#[test]
fn without_units_and_command_there_is_nothing_to_run() {
    let svinit = Setup::new().launch();
    assert_eq!(svinit.wait_for_end(), 78);
    assert!(svinit.output().contains("there is nothing to run"), "{}", svinit.output());
}

#[test]
fn a_service_gets_the_containers_environment_but_not_what_was_promised_to_svinit() {
    let text = "type = \"oneshot\"\nenvironment_files = [\"{dir}/env\", \"-{dir}/none\"]\ncommand = [\"env\"]\n\
                [environment]\nFROM_UNIT = \"unit\"\n[secrets]\nTOKEN = \"{dir}/token\"";
    let svinit = Setup::new()
        .file("env", "FROM_FILE='a file'\n")
        .file("token", "hunter2\n")
        .unit("show", text)
        .unit("stay", "command = [\"sleep\", \"600\"]")
        .env("OUTSIDE", "yes")
        .env("LISTEN_FDS", "3")
        .env("NOTIFY_SOCKET", "/nowhere")
        .start();
    svinit.wait_for("show", "completed");
    for expected in ["OUTSIDE=yes", "FROM_FILE=a file", "FROM_UNIT=unit", "TOKEN=hunter2", "SVINIT_UNIT=show"]
    {
        svinit.wait_for_line(&format!("show | {expected}"));
    }
    let said = svinit.output();
    for promised in ["LISTEN_FDS", "NOTIFY_SOCKET"] {
        assert!(!said.contains(&format!("show | {promised}")), "{said}");
    }
}

#[test]
fn a_command_beside_units_starts_when_they_are_ready_and_ends_everything() {
    let web = "ready.log = \"up\"\n\
               shell = \"sleep 0.2; touch {dir}/up; echo up; exec sleep 600\"";
    let setup = Setup::new().unit("web", web);
    let sees_it = format!("test -e {} && exit 7", setup.path("up").display());
    let svinit = setup.command(&["sh", "-c", &sees_it]).launch();
    assert_eq!(svinit.wait_for_end(), 7);
}
