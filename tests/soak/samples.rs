//! What is counted of svinit, and whether it has grown.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::day::{Day, Pace};
use crate::units;

/// One thing that is counted.
struct Count {
    name: &'static str,
    /// What the median of the last third may be above that of the first.
    slack: u64,
    take: fn(&Day) -> u64,
}

/// Descriptors: connections and launches come and go, so a sample catches more or fewer. Memory: what the allocator
/// keeps between two peaks. Children: crashed ones and orphans, caught or not. Files: a rotation under way.
const COUNTS: [Count; 9] = [
    Count { name: "fds", slack: 3, take: |day| entries(&proc(day, "fd")) },
    Count { name: "threads", slack: 0, take: |day| entries(&proc(day, "task")) },
    Count { name: "RSS kB", slack: 512, take: |day| field(&proc(day, "status"), "VmRSS:") },
    Count { name: "PSS kB", slack: 512, take: |day| field(&proc(day, "smaps_rollup"), "Pss:") },
    Count { name: "anon kB", slack: 512, take: |day| field(&proc(day, "status"), "RssAnon:") },
    Count { name: "zombies", slack: 0, take: zombies },
    Count { name: "children", slack: 4, take: |day| children(day.pid()).len() as u64 },
    Count { name: "run dir", slack: 1, take: |day| tree(&proc(day, "root/run/svinit")) },
    Count { name: "files", slack: 3, take: |day| day.files() as u64 },
];

/// All that was counted, and when.
#[derive(Default)]
pub struct Samples {
    rows: Vec<(Duration, Vec<u64>)>,
}

impl Samples {
    /// Counts once.
    pub fn take(&mut self, day: &Day, at: Duration) {
        self.rows.push((at, COUNTS.iter().map(|count| (count.take)(day)).collect()));
    }

    fn third(&self, nth: usize, column: usize) -> (u64, u64) {
        let third = self.rows.len() / 3;
        let mut values: Vec<u64> =
            self.rows[nth * third..(nth + 1) * third].iter().map(|(_, row)| row[column]).collect();
        values.sort_unstable();
        (values[values.len() / 2], *values.last().unwrap())
    }

    /// Median and most of each third, as a table of Markdown.
    pub fn table(&self) -> String {
        let minutes = self.rows.last().unwrap().0.as_secs_f64() / 60.0;
        let mut text =
            format!("{} units, {} samples over {minutes:.1} minutes\n\n", units::COUNT, self.rows.len());
        text += "| | first third, median (most) | second | last | slack |\n|---|---|---|---|---|\n";
        for (column, Count { name, slack, .. }) in COUNTS.iter().enumerate() {
            let cells = [0, 1, 2].map(|nth| {
                let (median, most) = self.third(nth, column);
                format!("{median} ({most})")
            });
            text += &format!("| {name} | {} | {slack} |\n", cells.join(" | "));
        }
        text
    }

    /// What has grown by more than its slack.
    pub fn risen(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (column, Count { name, slack, .. }) in COUNTS.iter().enumerate() {
            let (first, last) = (self.third(0, column).0, self.third(2, column).0);
            if last > first + slack {
                wrong.push(format!("{name} rose from {first} to {last}"));
            }
        }
        wrong
    }
}

fn proc(day: &Day, file: &str) -> String {
    format!("/proc/{}/{file}", day.pid())
}

fn entries(folder: &str) -> u64 {
    fs::read_dir(folder).map_or(0, |entries| entries.count() as u64)
}

fn tree(folder: &str) -> u64 {
    fn below(folder: &Path) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| 1 + if entry.path().is_dir() { below(&entry.path()) } else { 0 }).sum()
    }
    below(Path::new(folder))
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("the kernel tells it")
}

fn children(pid: i32) -> BTreeSet<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Children that are dead, and still are after svinit had a quarter of a second to hear of it.
pub fn zombies(day: &Day) -> u64 {
    let dead = || -> BTreeSet<i32> {
        let is_dead = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
        };
        children(day.pid()).into_iter().filter(is_dead).collect()
    };
    let first = dead();
    if first.is_empty() {
        return 0;
    }
    Pace::default().wait(Duration::from_millis(250));
    first.intersection(&dead()).count() as u64
}
