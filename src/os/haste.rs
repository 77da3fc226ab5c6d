//! Going before all others for a moment, where the system permits it: while nobody is looked after, because svinit takes
//! its own place, every slice of time that a busy neighbour gets first is added to the pause. Needs `CAP_SYS_NICE`.

use std::fs;

use crate::os::sys;

/// Before everybody, by setpriority(2).
const FIRST: i32 = -20;

/// Lets all threads of this process go first, and the program that takes its place. What [`end`] is to be given; `None`: not
/// permitted.
#[must_use]
pub fn begin() -> Option<i32> {
    let own = sys::niceness().ok()?;
    sys::set_niceness(0, FIRST).ok()?;
    set_all(FIRST);
    Some(own)
}

/// All threads are as nice as that again.
pub fn end(niceness: i32) {
    set_all(niceness);
    let _ = sys::set_niceness(0, niceness);
}

fn set_all(niceness: i32) {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        // One that has ended meanwhile needs nothing.
        let _ = sys::set_niceness(thread, niceness);
    }
}
