//! A unit that the kernel kills for want of memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::{Essential, Setup, eventually, skip};

/// Enough for svinit and its unit, and less than the unit asks for.
const LIMIT: u64 = 128 << 20;

/// A control group below our own, with [`LIMIT`] of memory. Removed when dropped.
struct Group {
    dir: PathBuf,
}

impl Group {
    /// With either version; else the reasons why not.
    fn new() -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let path = |start: &str| groups.lines().find_map(|line| line.split_once(start).map(|(_, path)| path));
        let places = [
            (path(":memory:"), "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            (path("0::"), "/sys/fs/cgroup", "memory.max"),
        ];
        let mut reasons = Vec::new();
        for (path, mount, limit) in places {
            let Some(path) = path else { continue };
            let dir = Path::new(mount).join(path.trim_start_matches('/'));
            match Self::below(&dir, limit) {
                Ok(group) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", dir.display())),
            }
        }
        Err(reasons.join("; "))
    }

    fn below(above: &Path, limit: &str) -> std::io::Result<Self> {
        let group = Self { dir: above.join(format!("svinit-test-{}", std::process::id())) };
        fs::create_dir(&group.dir)?;
        // Not created: a file that is not there means that memory is not limited here.
        let write = |name: &str| {
            use std::io::Write;

            fs::OpenOptions::new()
                .write(true)
                .open(group.dir.join(name))?
                .write_all(LIMIT.to_string().as_bytes())
        };
        write(limit)?;
        // Without an account of swap there is no such file.
        let _ = write("memory.memsw.limit_in_bytes");
        Ok(group)
    }

    fn members(&self) -> String {
        fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

#[test]
fn a_unit_that_was_killed_for_want_of_memory_says_so() {
    let group = match Group::new() {
        Ok(group) => group,
        Err(why) => {
            return skip(
                &format!("no control group with a limit on memory can be made here: {why}"),
                Essential::No,
            );
        }
    };
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.dir.display());
    let hungry = "oom = bytearray(1 << 30)\nfor at in range(0, len(oom), 4096): oom[at] = 1";
    let svinit = Setup::new()
        .through(&["sh", "-c", &join, "sh"])
        .unit("web", "command = [\"sleep\", \"600\"]")
        .unit(
            "hungry",
            &format!(
                "restart.policy = \"never\"\ncommand = [\"python3\", \"-c\", {hungry:?}]\n\
                 [limits]\noom_score_adj = 1000"
            ),
        )
        .start();
    svinit.wait_for("hungry", "failed");
    let why = svinit.svctl("why hungry");
    assert!(why.stdout.contains("was killed by SIGKILL: out of memory"), "{why:?}");
    assert_eq!(svinit.status("hungry")["last_exit"]["oom"], true);
    // A kill that somebody has sent is not mistaken for one.
    let pid = svinit.wait_for("web", "ready");
    crate::fixture::kill(pid.unwrap(), "KILL");
    svinit.wait_for_another("web", "ready", pid);
    assert_ne!(svinit.status("web")["last_exit"]["oom"], true);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    eventually("the control group is empty", || group.members().is_empty());
}
