//! Both forms of `/metrics`, line by line, as their readers take them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::{Form, render};
use crate::http::measured::Use;
use crate::runtime::handle::Usage;
use crate::runtime::world::{name, world};

fn text(form: Form) -> String {
    let now = Usage { memory: 4096, cpu_us: 1_500_000, tasks: 2, fds: 7 };
    render(form, &world().reader(), &BTreeMap::from([(name("web"), Use { now, cpu_us_total: 2_500_000 })]))
}

#[test]
fn each_family_is_told_once_and_before_its_samples() {
    for form in [Form::Text, Form::OpenMetrics] {
        let text = text(form);
        let (mut families, mut current, mut seen) = (BTreeSet::new(), String::new(), BTreeSet::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                current = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(current.clone()), "{current} comes twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ").or(line.strip_prefix("# UNIT ")) {
                assert_eq!(rest.split(' ').next().unwrap(), current);
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(series.starts_with(&current), "{series} under {current}");
                assert!(value.parse::<f64>().unwrap().is_finite());
                assert!(seen.insert(series.to_owned()), "{series} comes twice");
            }
        }
    }
}

#[test]
fn counters_are_named_as_each_form_wants_them() {
    let (text, open) = (text(Form::Text), text(Form::OpenMetrics));
    assert!(text.contains("# TYPE svinit_unit_restarts_total counter\n"));
    assert!(open.contains("# TYPE svinit_unit_restarts counter\n"));
    for form in [&text, &open] {
        assert!(form.contains("\nsvinit_unit_restarts_total{unit=\"web\"} 3\n"));
        assert!(form.contains("\nsvinit_unit_cpu_seconds_total{unit=\"web\"} 2.5\n"));
        assert!(form.contains("\nsvinit_unit_memory_bytes{unit=\"web\"} 4096\n"));
        assert!(form.contains("\nsvinit_unit_state{unit=\"job\",state=\"completed\"} 1\n"));
        assert!(form.contains("\nsvinit_unit_state{unit=\"job\",state=\"ready\"} 0\n"));
        assert!(form.contains("\nsvinit_unit_start_duration_seconds{unit=\"web\"} 0.13\n"));
        assert!(form.contains("\nsvinit_uptime_seconds 60\n"));
        assert!(!form.contains("svinit_unit_stop_duration_seconds{"), "nothing has been stopped");
    }
}

#[test]
fn only_openmetrics_has_units_infos_and_an_end() {
    let (text, open) = (text(Form::Text), text(Form::OpenMetrics));
    assert!(open.ends_with("\n# EOF\n") && !text.contains("EOF"));
    assert!(open.contains("# UNIT svinit_uptime_seconds seconds\n") && !text.contains("# UNIT"));
    assert!(open.contains("# TYPE svinit_build info\n") && text.contains("# TYPE svinit_build_info gauge\n"));
}

#[test]
fn the_form_is_what_accept_asks_for() {
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Form::wanted(Some(prometheus)), Form::OpenMetrics);
    for other in [None, Some("*/*"), Some("text/plain"), Some("application/openmetrics-text;q=0, text/plain")]
    {
        assert_eq!(Form::wanted(other), Form::Text, "{other:?}");
    }
}
