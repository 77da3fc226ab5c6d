//! The image nginx by itself: the postures that a hardened deployment asks for, alone and together.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

use crate::engine::load::Load;
use crate::engine::{Single, ask, wait_until};

/// Comes up well, is replaced when it is killed, restarts without a failed request, and ends within its grace with 0.
fn does_its_duty(image: &str, options: &[&str], port: u16) {
    let published = format!("127.0.0.1::{port}");
    let Some(nginx) = Single::run(image, &[&["--publish", &published], options].concat(), &[]) else {
        return;
    };
    nginx.wait_for_health("healthy");
    let before = nginx.identity();
    let at = nginx.at(port);
    let answers = || ask(&at, "/").is_ok_and(|answer| answer.status == 200);
    assert!(answers());

    let old = nginx.kill("nginx");
    nginx.wait_for_successor("nginx", old);
    wait_until("it answers again", || nginx.words(), answers);

    let load = Load::begin(&at, "/");
    load.go_on_to(50);
    nginx.svctl("restart nginx");
    load.go_on_to(load.asked() + 50);
    let told = load.end();
    assert_eq!(told.failed, 0, "{:?}", told.why);

    assert_eq!(nginx.identity(), before, "the container is the same");
    let took = nginx.stop();
    assert_eq!(nginx.exit_code(), 0, "{}", nginx.words());
    assert!(took.as_secs() < 10, "{took:?}");
}

#[test]
fn nginx_runs_as_it_is() {
    does_its_duty("nginx", &[], 80);
}

#[test]
fn nginx_runs_with_four_capabilities_and_read_only() {
    let options = [
        "--read-only",
        "--tmpfs=/tmp",
        "--tmpfs=/run",
        "--cap-drop=ALL",
        "--cap-add=SETUID",
        "--cap-add=SETGID",
        "--cap-add=CHOWN",
        "--cap-add=KILL",
        "--security-opt=no-new-privileges",
    ];
    does_its_duty("nginx", &options, 80);
}

#[test]
fn nginx_runs_rootless_in_every_posture() {
    let postures: [&[&str]; 6] = [
        &["--read-only", "--tmpfs=/tmp"],
        &["--cap-drop=ALL"],
        &["--user=12345:0"],
        &["--init"],
        &["--security-opt=no-new-privileges"],
        &[
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=ALL",
            "--user=12345:0",
            "--init",
            "--security-opt=no-new-privileges",
        ],
    ];
    for posture in postures {
        println!("{posture:?}");
        does_its_duty("nginx-rootless", posture, 8080);
    }
}

#[test]
fn without_a_place_to_write_to_nginx_says_which_one_is_missing() {
    let Some(nginx) = Single::run("nginx-rootless", &["--read-only"], &[]) else { return };
    let words = || nginx.words();
    wait_until("it says what is missing", words, || {
        words().contains("cannot create directory '/tmp/nginx': Read-only file system")
    });
    assert!(words().contains("cannot make directory /tmp/svinit-101: read-only file system"), "{}", words());
}

#[test]
fn without_any_capability_nginx_of_another_user_is_refused_with_the_reason() {
    let Some(nginx) = Single::run("nginx", &["--cap-drop=ALL"], &[]) else { return };
    wait_until(
        "it says why",
        || nginx.words(),
        || nginx.words().contains("svinit needs CAP_SETUID and CAP_SETGID"),
    );
    assert_eq!(nginx.exec(&["svctl", "health"]).code, 3);
}

/// An app that answers nobody until two have asked, and what it has seen of them.
fn answers_two_at_once(app: TcpListener) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel();
    let serve = move || {
        let mut waiting = Vec::new();
        for stream in app.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            if line.contains("/well") {
                stream.write_all(answer.as_bytes()).unwrap();
                continue;
            }
            waiting.push(stream);
            if let [first, second] = &mut waiting[..] {
                let _ = tell.send(());
                for stream in [first, second] {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                waiting.clear();
            }
        }
    };
    Builder::new().spawn(serve).expect("a thread");
    told
}

/// One request waited for another of the same page, to see whether that answer may be kept; most answers may not.
#[test]
fn behind_the_load_balancer_two_who_ask_for_the_same_page_are_answered_at_once() {
    let app = TcpListener::bind("0.0.0.0:0").unwrap();
    let upstream = format!("--env=PROXY_UPSTREAM=app:{}", app.local_addr().unwrap().port());
    let options =
        ["--add-host=app:host-gateway", "--env=PROXY_CHECK=/well", &upstream, "--publish=127.0.0.1::80"];
    let Some(lb) = Single::run("lb", &options, &[]) else { return };
    let told = answers_two_at_once(app);
    let at = lb.at(80);
    wait_until(
        "the app is found well",
        || lb.words(),
        || ask(&at, "/well").is_ok_and(|answer| answer.status == 200),
    );
    let asked = [(); 2].map(|()| {
        let at = at.clone();
        Builder::new().spawn(move || ask(&at, "/page").map(|answer| answer.status)).expect("a thread")
    });
    // nginx gives up waiting for the first one after 5 s.
    told.recv_timeout(Duration::from_secs(4))
        .expect("the second request is with the app while the first one waits");
    assert_eq!(asked.map(|one| one.join().unwrap()), [Ok(200), Ok(200)]);
}
