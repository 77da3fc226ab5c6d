//! The table of hazards against the tree: no test in it is missing, and no row of a complete section is silent.

use std::fs;

use super::{Finding, numbered, read, report, root};

/// Sections of `docs/hazards.md` that are complete: no row of these may have an empty cell.
const HAZARDS_COMPLETE: &[&str] = &["A", "B", "C", "D", "E", "F"];

#[test]
fn every_hazard_has_a_test_that_is_there_and_a_result() {
    let text = read(&root().join("docs/hazards.md"));
    let of = |path: String| fs::read_to_string(root().join(path)).ok();
    let rows = text.lines().filter(|line| hazard_row(line).is_some()).count();
    assert!(rows > 0, "docs/hazards.md has no row: is this rule looking in the right place?");
    let wrong = wrong_hazards(&text, HAZARDS_COMPLETE, &of);
    report(
        &wrong.into_iter().map(|(line, what)| format!("docs/hazards.md:{line}: {what}")).collect::<Vec<_>>(),
    );
}

/// The cells of a row of the table of hazards: id, hazard, what svinit does, tests, result.
fn hazard_row(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<&str> =
        line.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').map(str::trim).collect();
    let (letter, number) = cells[0].split_at_checked(1)?;
    let is_id = letter.chars().all(|c| c.is_ascii_uppercase()) && number.parse::<u8>().is_ok();
    is_id.then_some(cells)
}

/// Rows of `complete` sections that say nothing, and tests in any row that `of`, from a path to a text, does not have.
fn wrong_hazards(text: &str, complete: &[&str], of: &dyn Fn(String) -> Option<String>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, content) in numbered(text) {
        let Some(cells) = hazard_row(content) else { continue };
        let id = cells[0];
        if cells.len() != 5 {
            found.push((line, format!("{id} has {} cells and not 5: write no | in a cell", cells.len())));
            continue;
        }
        if complete.contains(&&id[..1]) && cells[1..].iter().any(|cell| cell.is_empty()) {
            found.push((
                line,
                format!("{id} has an empty cell: say what is done, which test shows it, and what was seen"),
            ));
        }
        // What stands between backquotes and begins with the name of a test binary.
        for test in cells[3].split('`').skip(1).step_by(2) {
            if ["it::", "lib::", "sim::"].iter().any(|start| test.starts_with(start)) && !is_test(test, of) {
                found.push((line, format!("{id} names {test}, which is not there: correct the name")));
            }
        }
    }
    found
}

/// `it::stop::name` is `fn name` in tests/it/stop.rs, `lib::os::tree::name` in src/os/tree.rs or its tests,
/// `sim::stopping::name` a promise in src/lifecycle/sim/stopping.rs.
fn is_test(test: &str, of: &dyn Fn(String) -> Option<String>) -> bool {
    let (Some((module, name)), Some((binary, _))) = (test.rsplit_once("::"), test.split_once("::")) else {
        return false;
    };
    let path = module.strip_prefix(binary).unwrap_or_default().trim_start_matches("::").replace("::", "/");
    let files = match binary {
        "it" => ["", "/mod"].map(|end| format!("tests/it/{path}{end}.rs")).to_vec(),
        "sim" => vec![format!("src/lifecycle/sim/{path}.rs")],
        _ => ["", "/tests", "/mod"].map(|end| format!("src/{path}{end}.rs")).to_vec(),
    };
    files.into_iter().filter_map(of).any(|text| text.contains(&format!("fn {name}(")))
}

/// The rule finds what it is for, and leaves alone what only looks like it.
mod proof {
    use super::wrong_hazards;
    use crate::Finding;

    fn lines(found: &[Finding]) -> Vec<usize> {
        found.iter().map(|(line, _)| *line).collect()
    }

    #[test]
    fn a_row_that_says_nothing_and_a_test_that_is_not_there_are_found() {
        let of = |path: String| match path.as_str() {
            "tests/it/stop.rs" | "src/os/tree/tests.rs" | "src/lifecycle/sim/asking.rs" => {
                Some("fn it_stops() {}".to_owned())
            }
            _ => None,
        };
        let good = "| A1 | h | d | `it::stop::it_stops`, `lib::os::tree::it_stops`, `sim::asking::it_stops` | seen |\n";
        assert_eq!(lines(&wrong_hazards(good, &["A"], &of)), [] as [usize; 0]);
        let bad = "| # | hazard |\n|---|---|\n| A1 | h | d | `it::stop::it_waits` | seen |\n| A2 | h | d | | seen |\n| B1 | | | | |\n| A3 | h | d | not yet: needs X | |\n";
        assert_eq!(lines(&wrong_hazards(bad, &["A"], &of)), [3, 4, 6]);
        assert_eq!(lines(&wrong_hazards("| A1 | a | b |\n", &[], &of)), [1]);
    }
}
