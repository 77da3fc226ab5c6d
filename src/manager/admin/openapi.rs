//! docs/openapi-manager.json is what the listener does: made from the table of routes and the types on the wire.
//! `UPDATE=1 cargo test openapi` writes it; tests/manager/admin.rs holds it against real answers.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use serde_json::json;

use crate::api::event::Lagged;
use crate::api::log::LogLine;
use crate::api::manager::Action;
use crate::api::manager::Event;
use crate::api::manager::Liveness;
use crate::api::manager::ManagerStatus;
use crate::api::manager::PauseRequest;
use crate::api::manager::Paused;
use crate::api::manager::RouteStatus;
use crate::api::manager::ServiceStatus;
use crate::api::manager::Why;
use crate::api::openapi::OPENAPI_MANAGER;
use crate::api::status::Refusal;
use crate::manager::admin::routes::ROUTES;
use crate::manager::admin::routes::Route;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Name, type and words of a parameter in the query.
type Parameter = (&'static str, &'static str, &'static str);

/// What cannot be read off the code.
struct Told {
    summary: &'static str,
    query: &'static [Parameter],
    content_type: &'static str,
    answer: Value,
}

const INSTANCE: Parameter = ("instance", "string", "Which of several, by its id or name.");

fn told(path: &str, types: &mut SchemaGenerator) -> Told {
    let (summary, query, content_type, answer): (_, &[Parameter], _, _) = match path {
        "/" => ("The page", &[], "text/html", json!({"type": "string"})),
        "/health" => ("The manager answers", &[], JSON, schema::<Liveness>(types)),
        "/metrics" => ("Prometheus text", &[], "text/plain", json!({"type": "string"})),
        "/api/status" => ("The manager itself", &[], JSON, schema::<ManagerStatus>(types)),
        "/api/services" => ("All services, by name", &[], JSON, list(schema::<ServiceStatus>(types))),
        "/api/services/{service}" => ("One service", &[], JSON, schema::<ServiceStatus>(types)),
        "/api/routes" => (
            "All routes, in the order in which they are tried",
            &[],
            JSON,
            list(schema::<RouteStatus>(types)),
        ),
        "/api/why/{service}" => ("Why a service is as it is", &[], JSON, schema::<Why>(types)),
        "/api/events" => (
            "What happens, as it happens; server-sent events with `Accept: text/event-stream`",
            &[("last", "integer", "First so many that are kept, at most 256; 0.")],
            LINES,
            json!({"anyOf": [schema::<Event>(types), schema::<Lagged>(types)]}),
        ),
        "/api/logs" => (
            "Lines of output; server-sent events with `Accept: text/event-stream`",
            &[
                ("service", "string", "Of which service; it has to be there."),
                ("unit", "string", "The one that serves by default; `all` is all of them."),
                INSTANCE,
                ("lines", "integer", "At most so many that are kept; 100."),
                ("follow", "boolean", "And those to come."),
            ],
            LINES,
            json!({"anyOf": [schema::<LogLine>(types), schema::<Lagged>(types)]}),
        ),
        "/api/openapi.json" => ("This document", &[], JSON, json!({"type": "object"})),
        "/api/services/{service}/{action}" => (
            "restart, reload, start or stop the unit that serves; pause or resume recovery of it",
            &[INSTANCE],
            JSON,
            json!({"anyOf": [schema::<Action>(types), schema::<Paused>(types)]}),
        ),
        "/api/services/{service}/units/{unit}/{action}" => (
            "restart, reload, start or stop a unit beside the one that serves",
            &[INSTANCE],
            JSON,
            schema::<Action>(types),
        ),
        "/api/pause" => ("Recovery does nothing for a while", &[], JSON, schema::<Paused>(types)),
        "/api/resume" => ("The end of that", &[], JSON, schema::<Paused>(types)),
        other => panic!("no words for {other}: add them here"),
    };
    Told { summary, query, content_type, answer }
}

fn schema<T: schemars::JsonSchema>(types: &mut SchemaGenerator) -> Value {
    types.subschema_for::<T>().to_value()
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn types(settings: SchemaSettings) -> SchemaGenerator {
    settings.with(|settings| settings.definitions_path = "/components/schemas".into()).into_generator()
}

fn document() -> Value {
    let mut sent = types(SchemaSettings::draft2020_12().for_serialize());
    let mut taken = types(SchemaSettings::draft2020_12().for_deserialize());
    let refusal = schema::<Refusal>(&mut sent);
    let mut paths = serde_json::Map::new();
    for route in ROUTES {
        let told = told(route.path, &mut sent);
        let mut operation = json!({
            "summary": told.summary,
            "parameters": parameters(route, &told),
            "responses": {
                "200": {"description": told.summary, "content": {told.content_type: {"schema": told.answer}}},
                "default": {"description": "It is refused.", "content": {JSON: {"schema": refusal}}},
            },
        });
        if matches!(route.path, "/api/pause" | "/api/services/{service}/{action}") {
            let body = schema::<PauseRequest>(&mut taken);
            operation["requestBody"] = json!({"required": false, "content": {JSON: {"schema": body}}});
        }
        if !matches!(route.path, "/" | "/health") {
            operation["security"] = json!([{"token": []}]);
        }
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_insert_with(|| json!({}))[method] = operation;
    }
    let mut schemas: BTreeMap<String, Value> = sent.take_definitions(true).into_iter().collect();
    schemas.extend(taken.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "svmanager admin listener",
            "version": "1",
            "description": "HTTP/1.1 at the address of [admin] listen, see docs/manager-admin.md. Fields may be added.",
        },
        "servers": [{"url": "http://127.0.0.1:9600/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    })
}

fn parameters(route: &Route, told: &Told) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = told.query.iter().map(|(name, kind, words)| {
        json!({"name": name, "in": "query", "required": *name == "service", "schema": {"type": kind}, "description": words})
    });
    in_path.chain(in_query).collect()
}

#[test]
fn the_openapi_file_of_the_manager_is_what_the_table_of_routes_and_the_types_say() {
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi-manager.json");
        std::fs::write(path, &text).unwrap();
        return;
    }
    assert!(
        text == OPENAPI_MANAGER,
        "docs/openapi-manager.json is not up to date: UPDATE=1 cargo test openapi"
    );
}
