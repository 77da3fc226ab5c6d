//! `/proc` as the kernel writes it, and as a process may name itself to mislead the reader.

use proptest::prelude::*;

use super::*;

fn own() -> Pid {
    Pid(i32::try_from(std::process::id()).unwrap())
}

#[test]
fn a_process_that_names_itself_like_a_zombie_is_none() {
    let text = b"17 (x) Z 1) S 4 5 6 0 -1 4194560 1 2 3 4 50 7 1 1 20 0 3 0 1234 99 9";
    let stat = parse_stat(text).unwrap();
    assert_eq!(stat.state, b'S');
    assert_eq!(stat.parent, Pid(4));
    assert_eq!((stat.group, stat.session), (5, 6));
    assert_eq!((stat.ticks, stat.threads, stat.started), (57, 3, 1234));
    assert!(!stat.is_dead());
}

#[test]
fn a_leader_that_has_ended_while_its_threads_live_is_not_dead() {
    let dead = parse_stat(b"17 (x) Z 4 5 6 0 -1 4194560 1 2 3 4 50 7 1 1 20 0 1 0 1234 99 9").unwrap();
    let leader = Stat { threads: 2, ..dead };
    assert!(dead.is_dead());
    assert!(!leader.is_dead());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a child of the test, which it waits for")]
fn how_another_s_child_has_ended_is_told_as_long_as_nobody_has_taken_note() {
    use std::process::{Command, Stdio};
    let ends = |line: &str, wanted: Option<ExitStatus>| {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read wait; {line}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid(i32::try_from(child.id()).unwrap());
        assert_eq!(exit_status(pid), None, "it lives");
        drop(child.stdin.take());
        while !stat(pid).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert_eq!(exit_status(pid), wanted);
        child.wait().unwrap();
        assert_eq!(exit_status(pid), None, "it is gone");
    };
    ends("exit 0", Some(ExitStatus::Code(0)));
    ends("exit 7", Some(ExitStatus::Code(7)));
    ends("kill -9 $$", Some(ExitStatus::Signal { number: libc::SIGKILL, core: false }));
}

#[test]
fn the_kernel_s_own_texts_are_understood() {
    let stat = stat(own()).unwrap();
    assert!(matches!(stat.state, b'R' | b'S'));
    assert!(stat.threads >= 1);
    assert!(resident_pages(own()).unwrap() > 10);
    assert!(descriptors(own()) >= 3);
    assert!(all().unwrap().contains(&own()));
    assert!(children(own()).is_some());
}

#[test]
fn a_limit_is_found_by_its_name_and_unlimited_is_no_number() {
    let text = b"Max nice priority         0                    0                    \n\
        Max realtime timeout      1152921504606846981  unlimited            us        \n";
    assert_eq!(parse_rttime(text), Some(1_152_921_504_606_846_981));
    assert_eq!(
        parse_rttime(b"Max realtime timeout      unlimited            unlimited            us\n"),
        None
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_stat(&text);
        let _ = parse_exit(&text);
        let _ = parse_rttime(&text);
        let _ = parse_resident(&text);
        let _ = parse_pids(&text);
    }

    #[test]
    fn whatever_a_process_calls_itself_its_parent_is_right(name in "[ -~]{0,15}", parent in 0..99999) {
        let text = format!("17 ({name}) S {parent} 5 6 0 -1 4194560 1 2 3 4 50 7 1 1 20 0 3 0 1234 99 9\n");
        let stat = parse_stat(text.as_bytes()).unwrap();
        prop_assert_eq!(stat.parent, Pid(parent));
        prop_assert_eq!(stat.state, b'S');
    }
}
