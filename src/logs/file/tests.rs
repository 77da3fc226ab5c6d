//! Log files on a real disk: rotated, moved away, full, forbidden and back again, with no line lost that need not be.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;

const NEVER: Rotation = Rotation { max_size: 0, max_age_us: 0, keep: 5, compress: false };

fn log(dir: &TempDir, rotation: Rotation) -> LogFile {
    LogFile::new(dir.path().join("app.log"), rotation)
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All that is in the directory, the oldest first.
fn content(dir: &TempDir) -> String {
    let mut names = names(dir);
    names.rotate_left(1);
    let mut all = String::new();
    for name in names {
        let bytes = fs::read(dir.path().join(&name)).unwrap();
        if name.ends_with(".gz") {
            GzDecoder::new(&bytes[..]).read_to_string(&mut all).unwrap();
        } else {
            all.push_str(&String::from_utf8(bytes).unwrap());
        }
    }
    all
}

#[test]
fn lines_are_appended_and_the_file_is_not_for_everybody() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("app.log"), "before\n").unwrap();
    let mut log = log(&dir, NEVER);
    log.write(b"a\nb\n", 0).unwrap();
    assert_eq!(content(&dir), "before\na\nb\n");
    let dir = TempDir::new().unwrap();
    let mut log = LogFile::new(dir.path().join("new/dir/app.log"), NEVER);
    log.write(b"a\n", 0).unwrap();
    let mode = fs::metadata(log.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0);
}

#[test]
fn a_thousand_rotations_lose_no_line_and_keep_to_the_total() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, Rotation { max_size: 100, keep: 2000, ..NEVER });
    let mut expected = String::new();
    for n in 0..9000 {
        let line = format!("line {n:05}\n");
        log.write(line.as_bytes(), 1_000_000).unwrap();
        expected.push_str(&line);
    }
    assert!(names(&dir).len() == 1000, "{}", names(&dir).len());
    assert_eq!(content(&dir), expected);
    assert!(names(&dir).iter().all(|name| fs::metadata(dir.path().join(name)).unwrap().len() <= 100));
    log.set_rotation(Rotation { max_size: 100, keep: 3, ..NEVER });
    log.write(&b"0123456789\n".repeat(20), 2_000_000).unwrap();
    let total: u64 = names(&dir).iter().map(|n| fs::metadata(dir.path().join(n)).unwrap().len()).sum();
    assert!(names(&dir).len() == 4 && total <= 400, "{total}");
}

#[test]
fn one_large_write_is_cut_at_lines_into_files() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, Rotation { max_size: 1000, keep: 100, ..NEVER });
    let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
    log.write(lines.as_bytes(), 5).unwrap();
    assert_eq!(content(&dir), lines);
    assert!(names(&dir).len() > 4);
}

#[test]
fn rotated_files_are_compressed_a_piece_at_a_time() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, Rotation { max_size: 400_000, compress: true, ..NEVER });
    let lines: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    log.write(lines.as_bytes(), 5).unwrap();
    assert!(log.has_to_compress());
    let mut steps = 0;
    while log.compress_some() {
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    let names = names(&dir);
    assert_eq!(names.iter().filter(|name| name.ends_with(".gz")).count(), names.len() - 1);
    assert_eq!(content(&dir), lines);
}

#[test]
fn what_a_crash_left_is_put_in_order() {
    let dir = TempDir::new().unwrap();
    let rotated = dir.path().join("app.log.2026-11-21T04-04-18.000000Z");
    fs::write(&rotated, "old\n").unwrap();
    fs::write(with(&rotated, ".gz.tmp"), "half").unwrap();
    fs::write(dir.path().join("app.log.bak"), "mine\n").unwrap();
    let mut log = log(&dir, Rotation { compress: true, ..NEVER });
    log.write(b"new\n", 0).unwrap();
    while log.compress_some() {}
    assert_eq!(names(&dir), ["app.log", "app.log.2026-11-21T04-04-18.000000Z.gz", "app.log.bak"]);
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn age_rotates_and_removes_also_when_nothing_is_written() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, Rotation { max_age_us: 1_000_000, ..NEVER });
    log.write(b"a\n", 5_000_000).unwrap();
    assert_eq!(log.due_us(), Some(6_000_000));
    log.on_time(5_999_999).unwrap();
    assert_eq!(names(&dir).len(), 1);
    log.on_time(6_000_000).unwrap();
    assert_eq!(names(&dir), ["app.log", "app.log.1970-01-01T00-00-06.000000Z"]);
    let due = log.due_us().unwrap();
    log.on_time(due).unwrap();
    assert_eq!(names(&dir), ["app.log"]);
    assert_eq!(log.due_us(), None);
}

#[test]
fn a_file_that_others_moved_or_removed_is_opened_again() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, NEVER);
    log.write(b"a\n", 0).unwrap();
    fs::rename(dir.path().join("app.log"), dir.path().join("app.log.1")).unwrap();
    log.write(b"b\n", 999_999).unwrap();
    log.write(b"c\n", 1_000_000).unwrap();
    assert_eq!(fs::read(dir.path().join("app.log.1")).unwrap(), b"a\nb\n");
    assert_eq!(fs::read(dir.path().join("app.log")).unwrap(), b"c\n");
    fs::remove_dir_all(dir.path()).unwrap();
    log.write(b"d\n", 2_000_000).unwrap();
    assert_eq!(fs::read(log.path()).unwrap(), b"d\n");
    fs::rename(log.path(), dir.path().join("x")).unwrap();
    log.reopen();
    log.write(b"e\n", 2_000_001).unwrap();
    assert_eq!(fs::read(log.path()).unwrap(), b"e\n");
}

#[test]
fn no_link_is_followed_and_no_fifo_waited_for() {
    let dir = TempDir::new().unwrap();
    symlink("/etc/passwd", dir.path().join("app.log")).unwrap();
    let mut link = log(&dir, NEVER);
    assert!(link.write(b"a\n", 0).is_err());
    let dir = TempDir::new().unwrap();
    nix::unistd::mkfifo(&dir.path().join("app.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(log(&dir, NEVER).write(b"a\n", 0).is_err());
}

#[test]
fn a_full_disk_says_so_and_null_takes_everything() {
    let mut full = LogFile::new("/dev/full".into(), NEVER);
    let failed = full.write(b"a\n", 0).unwrap_err();
    assert_eq!((failed.written, failed.error.raw_os_error()), (0, Some(libc::ENOSPC)));
    let mut null = LogFile::new("/dev/null".into(), Rotation { max_size: 1, ..NEVER });
    null.write(b"a\nb\n", 0).unwrap();
}

#[test]
fn without_files_to_keep_a_rotation_removes() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, Rotation { max_size: 4, keep: 0, ..NEVER });
    log.write(b"a\nb\nc\n", 0).unwrap();
    assert_eq!((names(&dir).len(), content(&dir)), (1, "c\n".to_owned()));
}

#[test]
fn half_a_line_at_the_end_of_a_full_disk_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let mut log = log(&dir, NEVER);
    log.write(b"before\n", 0).unwrap();
    let open = log.open.as_mut().unwrap();
    let lines = b"one\ntwo\nthree\n";
    open.file.write_all(&lines[..10]).unwrap();
    open.size += 10;
    let unwritten = open.cut(lines, 10, io::ErrorKind::StorageFull.into());
    assert_eq!((unwritten.written, content(&dir).as_str()), (8, "before\none\ntwo\n"));
    log.write(&lines[8..], 0).unwrap();
    assert_eq!(content(&dir), "before\none\ntwo\nthree\n");
}

#[test]
fn a_directory_that_became_a_link_of_somebody_else_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    if std::os::unix::fs::chown(dir.path(), Some(65534), None).is_err() {
        println!("skipped: only root can give a link away");
        return;
    }
    let (logs, vault) = (dir.path().join("logs"), dir.path().join("vault"));
    fs::create_dir(&vault).unwrap();
    let mut log = LogFile::new(logs.join("app.log"), Rotation { max_size: 8, keep: 3, ..NEVER });
    log.write(b"one\n", 0).unwrap();
    let swap = |owner: u32| {
        fs::rename(&logs, dir.path().join(format!("before-{owner}"))).unwrap();
        symlink(&vault, &logs).unwrap();
        std::os::unix::fs::lchown(&logs, Some(owner), None).unwrap();
    };
    swap(65534);
    // Not noticed yet: it goes where the directory went, and the rotation finds out.
    log.write(b"two\n", 1).unwrap();
    let refused = log.write(b"three\n", 2).unwrap_err();
    assert!(refused.error.to_string().contains("of user 65534, which is not followed"), "{}", refused.error);
    assert_eq!(fs::read_dir(&vault).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("before-65534")).unwrap().count(), 1, "rotated where it is");
    fs::rename(&logs, dir.path().join("link")).unwrap();
    symlink(&vault, &logs).unwrap();
    log.write(b"four\n", 3).unwrap();
    assert_eq!(
        fs::read(vault.join("app.log")).unwrap(),
        b"four\n",
        "a link of root's own is as good as a directory"
    );
}

#[test]
fn a_file_with_two_names_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "as it was").unwrap();
    fs::hard_link(dir.path().join("precious"), dir.path().join("app.log")).unwrap();
    assert!(log(&dir, NEVER).write(b"line\n", 0).unwrap_err().error.to_string().contains("another name"));
    assert_eq!(fs::read(dir.path().join("precious")).unwrap(), b"as it was");
}
