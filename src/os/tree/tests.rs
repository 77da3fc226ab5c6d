//! Real trees. This process becomes the subreaper of its tests, and each test looks at runs of its own only.

use std::io::{BufRead, BufReader, PipeReader};

use super::*;
use crate::lifecycle::event::ExitStatus;
use crate::os::reap;
use crate::os::spawn::tests::{end_of, sh};
use crate::os::spawn::{Child, Output, launch};

struct Tree {
    trees: Trees,
    run: RunId,
    child: Child,
    said: BufReader<PipeReader>,
}

impl Tree {
    fn of(script: &str) -> Self {
        reap::become_subreaper().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut wanted = sh(script);
        wanted.stdout = Output::Fd(writer.into());
        let child = launch(&wanted).unwrap();
        let mut trees = Trees::detect();
        trees.started(wanted.run, child.pid, None);
        Self { trees, run: wanted.run, child, said: BufReader::new(reader) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Reaps what was killed; adopted children of this run too, by their numbers.
    fn kill_all(&mut self) -> usize {
        for sweep in 0..1000 {
            if self.trees.kill(self.run) == 0 && self.trees.is_empty(self.run) {
                return sweep;
            }
            for pid in self.trees.own_children().unwrap() {
                if self.trees.mark_of(pid) == Some(self.run) && reap::reap(pid).is_some() {
                    self.trees.ended(pid);
                }
            }
        }
        panic!("outlived a thousand sweeps: {:?}", self.trees.members(self.run));
    }
}

#[test]
fn a_daemon_that_forked_twice_and_left_its_session_is_found_and_killed() {
    let mut tree =
        Tree::of("(setsid sh -c '(setsid sh -c \"echo \\$\\$; exec sleep 1000\") &') & wait; exit 0");
    let daemon = Pid(tree.line().parse().unwrap());
    assert_eq!(end_of(&tree.child), ExitStatus::Code(0));
    tree.trees.ended(tree.child.pid);
    assert_eq!(tree.trees.run_of(daemon), Some(tree.run));
    assert!(!tree.trees.is_empty(tree.run));
    assert!(tree.trees.members(tree.run).contains(&daemon));
    assert!(tree.trees.survivors(&[]).contains(&(daemon, tree.run)));
    tree.kill_all();
    assert!(tree.trees.is_empty(tree.run));
}

#[test]
fn a_tree_is_walked_parents_first_and_signalled_as_a_whole() {
    let mut tree = Tree::of("sh -c 'sleep 1000 & echo up; wait' & wait");
    assert_eq!(tree.line(), "up");
    let members = tree.trees.members(tree.run);
    assert_eq!(members.len(), 3);
    assert_eq!(members[0], tree.child.pid);
    let mut scanned: Vec<Pid> = tree.trees.scan(tree.run).into_iter().map(|met| met.pid).collect();
    let mut walked = members;
    scanned.sort();
    walked.sort();
    assert_eq!(scanned, walked, "the slow way finds the same");
    let usage = tree.trees.usage(tree.run);
    assert_eq!(usage.tasks, 3);
    assert!(usage.memory > 100_000 && usage.fds >= 9, "{usage:?}");
    assert_eq!(tree.trees.signal(tree.run, libc::SIGTERM), 3);
    assert_eq!(end_of(&tree.child), ExitStatus::Signal { number: 15, core: false });
    tree.trees.ended(tree.child.pid);
    tree.kill_all();
}

#[test]
fn a_zombie_is_no_member_and_its_run_is_not_gone_before_it_is_reaped() {
    let mut tree = Tree::of("exit 5");
    let pidfd = tree.child.pidfd.as_ref().unwrap();
    let mut polled = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(pidfd), nix::poll::PollFlags::POLLIN)];
    while nix::poll::poll(&mut polled, 20_000_u16) == Err(nix::errno::Errno::EINTR) {}
    assert_eq!(tag::of(tree.child.pid), Some(tree.run));
    assert_eq!(tree.trees.members(tree.run), []);
    assert_eq!(reap::peek_at(tree.child.pid).unwrap().status, ExitStatus::Code(5));
    assert!(!tree.trees.is_empty(tree.run), "its end is still to be told");
    end_of(&tree.child);
    tree.trees.ended(tree.child.pid);
    assert!(tree.trees.is_empty(tree.run));
}

#[test]
fn a_process_that_was_never_met_is_not_pinned() {
    let tree = Tree::of("sleep 1000");
    let met = tree.trees.walk(tree.run)[0];
    assert!(tree.trees.pin(tree.run, met).is_some());
    // Another process behind the same number: it began at another time, or it is of another run.
    assert!(tree.trees.pin(tree.run, Met { started: met.started + 1, ..met }).is_none());
    assert!(tree.trees.pin(RunId(tree.run.0 + 500_000), met).is_none());
    let own = Pid(sys::own_pid());
    let started = procfs::stat(own).unwrap().started;
    assert!(tree.trees.pin(tree.run, Met { pid: own, started, parent: None }).is_none());
    tree.trees.kill(tree.run);
    end_of(&tree.child);
}

#[test]
fn a_small_fork_bomb_is_beaten() {
    // Each process makes two and ends: what is left falls to us all the time. Bounded by its own depth.
    let script = "bomb() { n=$1; [ $n -gt 0 ] || exec sleep 1000; setsid sh -c \"$DEF; bomb $((n-1))\" & \
                  setsid sh -c \"$DEF; bomb $((n-1))\" & }";
    let mut tree = Tree::of(&format!("export DEF='{script}'; echo up; {script}; bomb 5"));
    assert_eq!(tree.line(), "up");
    tree.kill_all();
    assert!(tree.trees.is_empty(tree.run));
}

#[test]
fn without_proc_the_session_is_what_there_is() {
    let mut tree = Tree::of("exec sleep 1000");
    tree.trees.has_proc = false;
    assert_eq!(tree.trees.kind(), "session");
    assert!(!tree.trees.is_empty(tree.run));
    assert_eq!(tree.trees.kill(tree.run), 1);
    end_of(&tree.child);
    assert!(tree.trees.is_empty(tree.run));
}

#[test]
fn a_question_about_an_empty_run_is_cheap_among_many_processes() {
    let many: Vec<Child> = (0..200).map(|_| launch(&sh("exec sleep 1000")).unwrap()).collect();
    let mut trees = Trees::detect();
    for (child, number) in many.iter().zip(700_000..) {
        trees.started(RunId(number), child.pid, None);
    }
    let before = crate::os::clock::now();
    for _ in 0..10 {
        assert!(trees.is_empty(RunId(800_000)));
    }
    let each = crate::os::clock::now().since(before) / 10;
    println!("is_empty among {} children: {each:?}", many.len());
    for child in &many {
        child.pidfd.as_ref().unwrap().signal(libc::SIGKILL).unwrap();
        end_of(child);
    }
}
