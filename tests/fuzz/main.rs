//! Bytes from strangers: whatever reads them must survive all of them, and keep a promise about each.
//!
//! Each target has a corpus in `fuzz/corpus/NAME/`. First every file of it is tried as it is, then mutations of them: a
//! few thousand in an ordinary run, `FUZZ_RUNS=1000000` (`make fuzz`) for a long one. `FUZZ_SEED=N` makes others.
//! What fails is written to `target/fuzz/`, and the message says how to keep it as a regression.
//!
//! `FUZZ_INPUT=FILE cargo test --test fuzz NAME` tries one file.

#![expect(clippy::disallowed_methods, reason = "a test reads the clock for its bounds")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by failing")]
#![allow(clippy::print_stdout, unreachable_pub, reason = "it prints what it has found out")]

mod mutate;
mod requests;
mod target;
mod texts;
mod wire;

use crate::target::fuzz;

#[test]
fn units_are_read_or_every_problem_is_told() {
    fuzz(&texts::UNITS);
}

#[test]
fn the_daemon_s_file_is_read_or_every_problem_is_told() {
    fuzz(&texts::DAEMON);
}

#[test]
fn variables_are_filled_in_within_a_bound() {
    fuzz(&texts::EXPAND);
}

#[test]
fn moments_of_a_schedule_are_later_and_come_at_full_minutes() {
    fuzz(&texts::CRON);
}

#[test]
fn quantities_come_back_as_they_were_printed() {
    fuzz(&texts::QUANTITIES);
}

#[test]
fn environment_files_give_names_and_values() {
    fuzz(&texts::ENVIRONMENT);
}

#[test]
fn accounts_never_become_root_by_mistake() {
    fuzz(&texts::ACCOUNTS);
}

#[test]
fn a_process_cannot_lie_about_itself_through_its_name() {
    fuzz(&texts::PROCESSES);
}

#[test]
fn control_groups_are_found_below_their_mount() {
    fuzz(&texts::CGROUPS);
}

#[test]
fn notifications_are_signs_of_bounded_size() {
    fuzz(&wire::NOTIFY);
}

#[test]
fn heads_are_understood_or_refused() {
    fuzz(&wire::HEADS);
}

#[test]
fn a_checked_server_gives_a_status_or_no_answer() {
    fuzz(&wire::ANSWERS);
}

#[test]
fn name_servers_give_addresses_of_the_kind_that_was_asked_for() {
    fuzz(&wire::NAMES);
}

#[test]
fn lines_are_the_same_however_they_were_cut() {
    fuzz(&wire::LINES);
}

#[test]
fn a_line_stays_one_line_of_its_unit() {
    fuzz(&wire::FORMAT);
}

#[test]
fn only_rotated_files_are_taken_for_rotated_files() {
    fuzz(&wire::ROTATION);
}

#[test]
fn the_control_socket_answers_every_request_with_http() {
    fuzz(&requests::CONTROL);
}
