//! Health reports in the `application/health+json` form, from what is on the board.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::http::Response;

use crate::api::health::{HealthCheck, HealthReport};
use crate::http::schedule;
use crate::lifecycle::state::UnitView;
use crate::lifecycle::verdict::{self, Boot, Judgement, Verdict};
use crate::runtime::handle::Reader;

/// The version of this binary.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All units.
pub(crate) fn all(reader: &Reader) -> HealthReport {
    let units = judged(reader);
    let checks = units.iter().map(|(view, boot)| (view.name.to_string(), vec![check(reader, view, *boot)]));
    report(overall(reader, &units), checks.collect())
}

/// One unit, by its name or an alias, or the instances of a group.
pub(crate) fn one(reader: &Reader, name: &str) -> Option<HealthReport> {
    let set = reader.set();
    let views = set.named(name).into_iter().filter_map(|spec| reader.unit(spec.name.as_str()));
    let units: Vec<Judged> = views.map(|view| (Arc::clone(&view), boot(reader, &view))).collect();
    let checks = units.iter().map(|(view, boot)| (view.name.to_string(), vec![check(reader, view, *boot)]));
    (!units.is_empty()).then(|| report(overall(reader, &units), checks.collect()))
}

/// May traffic come?
pub(crate) fn readiness(reader: &Reader) -> HealthReport {
    let overall = overall(reader, &judged(reader));
    report(verdict::readiness(reader.phase(), overall), BTreeMap::new())
}

/// The supervisor answers.
pub(crate) fn liveness() -> HealthReport {
    report(Judgement::pass(), BTreeMap::new())
}

/// There is no such unit.
pub(crate) fn unknown(name: &str) -> HealthReport {
    let short: String = name.chars().take(64).collect();
    HealthReport {
        status: Verdict::Fail.as_str().to_owned(),
        version: VERSION.to_owned(),
        output: format!("no unit is named {short:?}"),
        checks: BTreeMap::new(),
    }
}

/// 200 while it does not fail.
pub(crate) fn status(report: &HealthReport) -> StatusCode {
    if report.status == Verdict::Fail.as_str() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// The report as an answer.
pub(crate) fn answer(status: StatusCode, report: &HealthReport) -> Response<Body> {
    let body = serde_json::to_vec(report).expect("texts in a struct are always JSON");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/health+json")
        .header(CACHE_CONTROL, "no-store")
        .body(Body::from(body))
        .expect("constant headers are valid")
}

/// How well all of svinit is.
pub(crate) fn verdict(reader: &Reader) -> Verdict {
    overall(reader, &judged(reader)).verdict
}

type Judged = (Arc<UnitView>, Boot);

fn judged(reader: &Reader) -> Vec<Judged> {
    let set = reader.set();
    let boot =
        |view: &UnitView| Boot::from_enabled(set.units.get(&view.name).is_some_and(|spec| spec.enabled));
    reader.units().into_iter().map(|view| (Arc::clone(&view), boot(&view))).collect()
}

fn boot(reader: &Reader, view: &UnitView) -> Boot {
    Boot::from_enabled(reader.set().units.get(&view.name).is_some_and(|spec| spec.enabled))
}

fn overall(reader: &Reader, units: &[Judged]) -> Judgement {
    verdict::overall(reader.phase(), units.iter().map(|(view, boot)| (&**view, *boot)))
}

fn check(reader: &Reader, view: &UnitView, boot: Boot) -> HealthCheck {
    let judgement = verdict::of_unit(view, boot);
    HealthCheck {
        component_type: "component".to_owned(),
        status: judgement.verdict.as_str().to_owned(),
        observed_value: view.label.as_str().to_owned(),
        time: crate::http::moment::of(reader.info(), view.since),
        output: judgement.why,
        schedule: schedule::of(reader, view, reader.set().units.get(&view.name).map(|spec| &**spec)),
    }
}

fn report(judgement: Judgement, checks: BTreeMap<String, Vec<HealthCheck>>) -> HealthReport {
    HealthReport {
        status: judgement.verdict.as_str().to_owned(),
        version: VERSION.to_owned(),
        output: judgement.why,
        checks,
    }
}
