//! Control groups: what their files say, and a real one without controllers where version 2 can be written to.

use super::*;

const DOCKER: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
    36 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
    38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

#[test]
fn our_own_group_is_found_in_both_versions() {
    let groups = "5:memory:/docker/abc/sub\n1:cpu:/docker/abc\n0::/docker/abc\n";
    let two = dir_in(groups, DOCKER, "0::", "cgroup2", "");
    assert_eq!(two, Some("/sys/fs/cgroup/unified/docker/abc".into()));
    let one = dir_in(groups, DOCKER, "5:memory:", "cgroup", "memory");
    assert_eq!(one, Some("/sys/fs/cgroup/memory/sub".into()));
}

#[test]
fn a_group_outside_of_what_is_mounted_is_not_ours() {
    assert_eq!(dir_in("0::/../other\n", DOCKER, "0::", "cgroup2", ""), None);
    assert_eq!(dir_in("0::/x\n", "38 31 0:38 /y /mnt rw - cgroup2 cgroup2 rw\n", "0::", "cgroup2", ""), None);
    assert_eq!(dir_in("", DOCKER, "0::", "cgroup2", ""), None);
    let rootless = "38 31 0:38  /mnt rw - cgroup2 cgroup2 rw\n";
    assert_eq!(dir_in("0::/etc\n", rootless, "0::", "cgroup2", ""), None, "a path past the mount");
}

#[test]
fn a_group_that_others_are_in_as_well_is_not_ours() {
    assert!(is_ours("1\n7\n8\n", Pid(1)), "a container's");
    assert!(!is_ours("0\n1\n7\n", Pid(1)), "somebody there is of another PID namespace");
    assert!(is_ours("7\n", Pid(7)));
    assert!(!is_ours("7\n8\n", Pid(7)));
}

#[test]
fn a_number_is_found_by_its_whole_key() {
    let text = "low 0\noom 4\noom_kill 2\noom_group_kill 1\n";
    assert_eq!(field(text, "oom"), Some(4));
    assert_eq!(field(text, "oom_kill"), Some(2));
    assert_eq!(field(text, "kill"), None);
}

/// A group beside ours in the version 2 tree of this machine, which has no controllers.
#[test]
fn a_group_without_controllers_is_joined_killed_and_told_empty() {
    let Some(own) = Places::read().own_dir() else {
        println!("skipped: no cgroup v2 is mounted");
        return;
    };
    let base = own.join(format!("svinit-test-{}", sys::own_pid()));
    if let Err(error) = make(&base) {
        println!("skipped: no writable cgroup v2: {error}");
        return;
    }
    let groups = Cgroups { base, controllers: Vec::new(), groups: Mutex::default() };
    let limits = Limits { memory_max: Some(1 << 30), ..Limits::default() };
    let cgroup = groups.of(&UnitName::new("web").unwrap(), &limits).unwrap();
    if !groups.has("memory") {
        assert_eq!(cgroup.limit(&limits), ["cannot enforce memory_max: no such file or directory"]);
        assert_eq!(cgroup.usage(), None);
    }
    assert!(Arc::ptr_eq(&cgroup, &groups.of(&UnitName::new("web").unwrap(), &limits).unwrap()));
    assert_eq!(cgroup.populated(), Some(false));
    let mut wanted = crate::os::spawn::tests::sh("sleep 1000 & wait");
    wanted.cgroup = Some(Arc::clone(&cgroup));
    let child = crate::os::spawn::launch(&wanted).unwrap();
    assert_eq!(child.warnings, Vec::<String>::new());
    assert_eq!(cgroup.populated(), Some(true));
    assert!(cgroup.members().contains(&child.pid));
    let mut trees = crate::os::tree::Trees::detect();
    trees.started(wanted.run, child.pid, Some(&cgroup));
    assert_eq!(trees.kind(), "cgroup");
    assert!(!trees.is_empty(wanted.run));
    assert!(trees.kill(wanted.run) > 0);
    drop(trees);
    crate::os::spawn::tests::end_of(&child);
    let path = cgroup.path.clone();
    drop(wanted);
    drop(cgroup);
    // The other process may still be on its way out; what is left is removed with the next start.
    drop(groups);
    let _ = fs::remove_dir(path);
}
