//! `/metrics`: the Prometheus text form.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fmt::Write as _;

use crate::api::manager::ManagerStatus;
use crate::manager::admin::desk::Desk;
use crate::manager::admin::look::name_of;
use crate::manager::gate::Counts;
use crate::manager::gate::Floor as _;
use crate::manager::gate::InstanceView;
use crate::manager::gate::ServiceView;
use crate::manager::gate::Standing;
use crate::manager::recovery::policy::Rung;
use crate::manager::recovery::tally::Came;
use crate::manager::repair::Overview;
use crate::manager::traffic::BOUNDS;

/// Name, help and value of a counter of a service.
type Row = (&'static str, &'static str, fn(&Counts) -> u64);

const COUNTERS: [Row; 6] = [
    ("svmanager_service_requests_total", "Requests that were routed to the service.", |counts| {
        counts.requests
    }),
    ("svmanager_service_errors_total", "Of those, answered with 500 to 599 by itself.", |counts| {
        counts.errors
    }),
    ("svmanager_service_failed_total", "Of those, answered with an error of the gateway's own.", |counts| {
        counts.failed
    }),
    ("svmanager_service_retried_total", "How often one was tried again.", |counts| counts.retried),
    ("svmanager_service_parked_total", "Of those, had to wait for an instance.", |counts| counts.parked),
    ("svmanager_service_abandoned_total", "Of those, given up by their client.", |counts| counts.abandoned),
];

/// All of it.
pub(super) fn render(status: &ManagerStatus, overview: &Overview, desk: &Desk) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    manager(&mut page, status);
    let services = desk.gateway().services.services();
    for (name, help, value) in COUNTERS {
        page.head(name, "counter", help);
        for service in &services {
            page.sample(name, &[("service", &service.name)], value(&service.counts));
        }
    }
    standings(&mut page, &services);
    recovery(&mut page, overview);
    traffic(&mut page, desk);
    page.0
}

fn manager(page: &mut Page, status: &ManagerStatus) {
    page.head("svmanager_build_info", "gauge", "The running binary.");
    page.sample("svmanager_build_info", &[("version", &status.version)], 1);
    page.head("svmanager_uptime_seconds", "gauge", "Since the manager was started.");
    page.sample("svmanager_uptime_seconds", &[], status.uptime_ms / 1000);
    page.head("svmanager_leader", "gauge", "1 when this manager is the one that acts.");
    page.sample("svmanager_leader", &[], u8::from(status.leader));
    page.head("svmanager_frozen", "gauge", "1 while so much is ill that nothing is touched.");
    page.sample("svmanager_frozen", &[], u8::from(status.frozen));
    page.head("svmanager_paused", "gauge", "1 while a person has paused recovery of all services.");
    page.sample("svmanager_paused", &[], u8::from(status.paused_ms.is_some()));
    let answers = &status.answers;
    page.head("svmanager_answers_total", "counter", "Requests by the first digit of their answer's status.");
    for (class, count) in [
        ("none", answers.none),
        ("1xx", answers.informed),
        ("2xx", answers.succeeded),
        ("3xx", answers.redirected),
        ("4xx", answers.refused),
        ("5xx", answers.failed),
    ] {
        page.sample("svmanager_answers_total", &[("class", class)], count);
    }
}

fn standings(page: &mut Page, services: &[ServiceView]) {
    page.head("svmanager_service_waiting", "gauge", "Requests that wait for the service now.");
    for service in services {
        page.sample("svmanager_service_waiting", &[("service", &service.name)], service.parked);
    }
    page.head("svmanager_service_away", "gauge", "1 while the service is being repaired.");
    for service in services {
        page.sample("svmanager_service_away", &[("service", &service.name)], u8::from(service.is_away));
    }
    let mut each = |name: &str, help: &str, value: fn(&InstanceView) -> usize| {
        page.head(name, "gauge", help);
        for service in services {
            for instance in &service.instances {
                let address = instance.address.to_string();
                page.sample(name, &[("service", &service.name), ("instance", &address)], value(instance));
            }
        }
    };
    each("svmanager_instance_up", "1 when the instance is up.", |instance| {
        usize::from(instance.standing == Standing::Up)
    });
    each("svmanager_instance_in_flight", "Requests and upgraded connections at the instance.", |instance| {
        instance.in_flight
    });
}

/// What recovery has found and done.
fn recovery(page: &mut Page, overview: &Overview) {
    let name = "svmanager_recovery_actions_total";
    page.head(name, "counter", "Actions on the service, by what was done and what came of it.");
    for view in &overview.views {
        let rungs = view.ladder.iter().filter(|rung| **rung != Rung::Alert);
        // Those of its ladder are there before they were ever done; others were asked for by a person.
        let usual = rungs.flat_map(|rung| Came::ALL.map(|came| ((*rung, came), 0)));
        let mut counts: BTreeMap<(Rung, Came), u64> = usual.collect();
        counts.extend(&view.tally.actions);
        for ((rung, came), count) in counts {
            let labels = [("service", &*view.service), ("step", rung.as_str()), ("result", came.as_str())];
            page.sample(name, &labels, count);
        }
    }
    let name = "svmanager_recovery_detections_total";
    page.head(
        name,
        "counter",
        "How often the service was found ill, by its svinit (push) or a check (poll).",
    );
    for view in &overview.views {
        let found = overview.detections.get(&view.service).copied().unwrap_or_default();
        for (by, count) in [("push", found.push), ("poll", found.poll)] {
            page.sample(name, &[("service", &view.service), ("by", by)], count);
        }
    }
    let name = "svmanager_recovery_quarantines_total";
    page.head(name, "counter", "How often the service was given up for a while, and people were told.");
    for view in &overview.views {
        page.sample(name, &[("service", &view.service)], view.tally.quarantines);
    }
    let name = "svmanager_recovery_tokens";
    page.head(name, "gauge", "Actions on the service that are left in these ten minutes.");
    for view in &overview.views {
        page.sample(name, &[("service", &view.service)], view.budget);
    }
    let name = "svmanager_recovery_freezes_total";
    page.head(name, "counter", "How often so much was ill at once that nothing was touched.");
    page.sample(name, &[], overview.freezes);
}

fn traffic(page: &mut Page, desk: &Desk) {
    let running = desk.gateway().running();
    let name = "svmanager_route_request_duration_seconds";
    page.head(name, "histogram", "From the head of a request to the end of its answer.");
    for (route, traffic) in running.measured() {
        let (route, service) = (name_of(route), &route.service);
        let labels = [("route", route.as_str()), ("service", service)];
        for (bound, count) in BOUNDS.iter().zip(traffic.within) {
            let bound = bound.to_string();
            page.sample(&format!("{name}_bucket"), &[labels[0], labels[1], ("le", &bound)], count);
        }
        page.sample(&format!("{name}_bucket"), &[labels[0], labels[1], ("le", "+Inf")], traffic.requests);
        page.sample(&format!("{name}_sum"), &labels, traffic.seconds);
        page.sample(&format!("{name}_count"), &labels, traffic.requests);
    }
    let name = "svmanager_route_errors_total";
    page.head(name, "counter", "Requests of the route that were answered with 500 and above.");
    for (route, traffic) in running.measured() {
        page.sample(name, &[("route", &name_of(route)), ("service", &route.service)], traffic.errors);
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}
