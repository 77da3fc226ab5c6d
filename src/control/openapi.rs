//! docs/openapi.json is what the server does: made from the table of routes and the types on the wire, and held
//! against real answers. `UPDATE=1 cargo test openapi` writes it.

use std::collections::BTreeMap;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::Request;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::api::command::{JobLine, JobRequest, ScaleRequest, UpdateRequest};
use crate::api::event::{Lagged, UnitEvent};
use crate::api::health::HealthReport;
use crate::api::log::LogLine;
use crate::api::openapi::OPENAPI;
use crate::api::status::{Definition, Environment, Refusal, SupervisorStatus, UnitStatus};
use crate::api::upgrade::UpgradeLine;
use crate::control::peer::Access;
use crate::control::routes::{ROUTES, Route, app};
use crate::control::server::tests::OWNER;
use crate::runtime::world::world;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const HEALTH: &str = "application/health+json";

/// Name, type and words of a parameter.
type Parameter = (&'static str, &'static str, &'static str);

/// What cannot be read off the code: words, parameters, and the forms of answers.
struct Told {
    summary: &'static str,
    query: &'static [Parameter],
    /// Status, content type and schema.
    answers: Vec<(u16, &'static str, Value)>,
}

const UNITS: Parameter = ("units", "string", "Names, aliases or globs, by commas; `all` or nothing is all.");
const USAGE: Parameter = ("usage", "boolean", "Measure memory, CPU and tasks.");

fn told(path: &str, types: &mut SchemaGenerator) -> Told {
    let (summary, query, answers): (_, &[Parameter], _) = match path {
        "/v1/supervisor" => ("svinit itself", &[], vec![(200, JSON, schema::<SupervisorStatus>(types))]),
        "/v1/units" => (
            "All units, or some",
            &[USAGE, UNITS],
            vec![(200, JSON, json!({"type": "array", "items": schema::<UnitStatus>(types)}))],
        ),
        "/v1/units/{name}" => ("One unit", &[USAGE], vec![(200, JSON, schema::<UnitStatus>(types))]),
        "/v1/units/{name}/definition" => {
            ("The files of a unit, and what is in force", &[], vec![(200, JSON, schema::<Definition>(types))])
        }
        "/v1/units/{name}/environment" => (
            "What the next process of a unit starts with; secrets are ***",
            &[],
            vec![(200, JSON, schema::<Environment>(types))],
        ),
        "/v1/jobs" => (
            "Start, stop, restart, reload, signal, reset, pause or resume units",
            &[],
            vec![(200, LINES, schema::<JobLine>(types)), (202, LINES, schema::<JobLine>(types))],
        ),
        "/v1/update" => (
            "Take over what the files say now: only units that differ are touched",
            &[],
            vec![(200, LINES, schema::<JobLine>(types))],
        ),
        "/v1/scale" => (
            "Have so many instances of a group; the highest numbers come and go",
            &[],
            vec![(200, LINES, schema::<JobLine>(types))],
        ),
        "/v1/events" => (
            "Changes of units as they happen; server-sent events with `Accept: text/event-stream`",
            &[UNITS, ("initial", "boolean", "Begin with the state that each unit is in.")],
            vec![(200, LINES, json!({"anyOf": [schema::<UnitEvent>(types), schema::<Lagged>(types)]}))],
        ),
        "/v1/logs" => (
            "Lines of output",
            &[
                UNITS,
                ("lines", "integer", "Of each unit, at most so many that are kept; 100."),
                ("follow", "boolean", "And those to come."),
            ],
            vec![(200, LINES, json!({"anyOf": [schema::<LogLine>(types), schema::<Lagged>(types)]}))],
        ),
        "/v1/logs/reopen" => {
            ("Open log files again, after they were moved", &[], vec![(204, "", Value::Null)])
        }
        "/v1/health" => (
            "How well everything is",
            &[],
            vec![(200, HEALTH, schema::<HealthReport>(types)), (503, HEALTH, schema::<HealthReport>(types))],
        ),
        "/v1/health/{name}" => (
            "How well one unit is",
            &[],
            vec![(200, HEALTH, schema::<HealthReport>(types)), (503, HEALTH, schema::<HealthReport>(types))],
        ),
        "/v1/upgrade" => (
            "Go on as the svinit that is on the disk by now; 409 when that could not take over",
            &[("try", "boolean", "Only test whether it could.")],
            vec![(200, LINES, schema::<UpgradeLine>(types))],
        ),
        "/v1/shutdown" => {
            ("Stop everything and leave; a second time kills", &[], vec![(202, "", Value::Null)])
        }
        "/v1/openapi.json" => ("This document", &[], vec![(200, JSON, json!({"type": "object"}))]),
        other => panic!("no words for {other}: add them here"),
    };
    Told { summary, query, answers }
}

fn schema<T: schemars::JsonSchema>(types: &mut SchemaGenerator) -> Value {
    types.subschema_for::<T>().to_value()
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
        let mut responses = serde_json::Map::new();
        for (status, content_type, schema) in &told.answers {
            responses.insert(status.to_string(), response(content_type, schema));
        }
        responses.insert("default".to_owned(), response(JSON, &refusal));
        let parameters: Vec<Value> = parameters(route, &told);
        let mut operation = json!({
            "summary": told.summary,
            "x-access": if route.access == Access::Read { "read" } else { "operate" },
            "parameters": parameters,
            "responses": responses,
        });
        let body = match route.path {
            "/v1/jobs" => Some(schema::<JobRequest>(&mut taken)),
            "/v1/update" => Some(schema::<UpdateRequest>(&mut taken)),
            "/v1/scale" => Some(schema::<ScaleRequest>(&mut taken)),
            _ => None,
        };
        if let Some(body) = body {
            operation["requestBody"] = json!({"required": true, "content": {JSON: {"schema": body}}});
        }
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_insert_with(|| json!({}))[method] = operation;
    }
    let mut schemas: BTreeMap<String, Value> = sent.take_definitions(true).into_iter().collect();
    schemas.extend(taken.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "svinit control socket",
            "version": "1",
            "description": "HTTP/1.1 on a unix socket, see docs/api.md. Fields may be added.",
        },
        "servers": [{"url": "http://localhost/"}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn response(content_type: &str, schema: &Value) -> Value {
    let description = match content_type {
        LINES => "One JSON value a line.",
        HEALTH => "health+json; 503 when it fails.",
        "" => "Done; there is no body.",
        _ => "JSON.",
    };
    if content_type.is_empty() {
        return json!({"description": description});
    }
    json!({"description": description, "content": {content_type: {"schema": schema}}})
}

fn parameters(route: &Route, told: &Told) -> Vec<Value> {
    let in_path = route.path.contains("{name}").then(|| {
        json!({"name": "name", "in": "path", "required": true, "schema": {"type": "string"},
               "description": "Name or alias of a unit. Of a group where all of it is meant or its first instance stands for all."})
    });
    let in_query = told.query.iter().map(|(name, kind, words)| {
        json!({"name": name, "in": "query", "required": false, "schema": {"type": kind}, "description": words})
    });
    in_path.into_iter().chain(in_query).collect()
}

#[test]
fn the_openapi_file_is_what_the_table_of_routes_and_the_types_say() {
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        std::fs::write(path, &text).unwrap();
        return;
    }
    assert!(text == OPENAPI, "docs/openapi.json is not up to date: UPDATE=1 cargo test openapi");
}

#[test]
fn every_path_of_the_file_is_a_route_and_every_route_is_in_the_file() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut in_file = Vec::new();
    for (path, operations) in file["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            in_file.push(format!("{} {path}", method.to_ascii_uppercase()));
        }
    }
    let mut routes: Vec<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    in_file.sort();
    routes.sort();
    assert_eq!(in_file, routes);
}

/// Method, target, body, expected status, the path in the file.
const EXERCISED: &[(&str, &str, &str, u16, &str)] = &[
    ("GET", "/v1/supervisor", "", 200, "/v1/supervisor"),
    ("GET", "/v1/units?usage=true", "", 200, "/v1/units"),
    ("GET", "/v1/units?units=w*,db", "", 200, "/v1/units"),
    ("GET", "/v1/units?units=nope", "", 404, "/v1/units"),
    ("GET", "/v1/units?colour=red", "", 400, "/v1/units"),
    ("GET", "/v1/units/django", "", 200, "/v1/units/{name}"),
    ("GET", "/v1/units/wbe", "", 404, "/v1/units/{name}"),
    ("GET", "/v1/units/web/definition", "", 200, "/v1/units/{name}/definition"),
    ("GET", "/v1/units/web/environment", "", 200, "/v1/units/{name}/environment"),
    ("POST", "/v1/jobs", r#"{"verb":"restart","units":["web","db"]}"#, 200, "/v1/jobs"),
    ("POST", "/v1/jobs", r#"{"verb":"stop","units":["all"],"wait":false}"#, 202, "/v1/jobs"),
    ("POST", "/v1/jobs", r#"{"verb":"stop","units":[]}"#, 400, "/v1/jobs"),
    ("POST", "/v1/jobs", r#"{"verb":"eval","units":["web"]}"#, 400, "/v1/jobs"),
    ("GET", "/v1/logs?units=web", "", 200, "/v1/logs"),
    ("POST", "/v1/scale", r#"{"instances":{"web":3}}"#, 200, "/v1/scale"),
    ("POST", "/v1/scale", r#"{"instances":{}}"#, 400, "/v1/scale"),
    ("POST", "/v1/logs/reopen", "", 204, "/v1/logs/reopen"),
    ("GET", "/v1/health", "", 200, "/v1/health"),
    ("GET", "/v1/health/web", "", 200, "/v1/health/{name}"),
    ("POST", "/v1/upgrade?try=true", "", 200, "/v1/upgrade"),
    ("POST", "/v1/shutdown", "", 202, "/v1/shutdown"),
    ("GET", "/v1/openapi.json", "", 200, "/v1/openapi.json"),
];

#[tokio::test]
async fn answers_are_as_the_file_says() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    for (method, target, body, status, path) in EXERCISED {
        let request =
            Request::builder().method(*method).uri(*target).extension(OWNER).body(Body::from(*body)).unwrap();
        let response = app(world().drive().handle).oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), *status, "{method} {target}");
        let content_type =
            response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();

        let responses = &file["paths"][path][method.to_ascii_lowercase()]["responses"];
        let described = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        let Some(content_type) = content_type else {
            assert!(described.get("content").is_none() && text.is_empty(), "{method} {target} has no body");
            continue;
        };
        let mut schema = described["content"][&content_type]["schema"].clone();
        assert!(schema.is_object(), "{method} {target}: {content_type} is not in the file");
        schema["components"] = file["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let values: Vec<&str> = if content_type == LINES { text.lines().collect() } else { vec![text] };
        assert!(!values.is_empty(), "{method} {target} has said nothing");
        for value in values {
            let value: Value = serde_json::from_str(value).unwrap();
            validator.validate(&value).unwrap_or_else(|error| panic!("{method} {target}: {error}: {value}"));
        }
    }
}

#[test]
fn a_wrong_answer_is_not_as_the_file_says() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut schema =
        file["paths"]["/v1/units/{name}"]["get"]["responses"]["200"]["content"][JSON]["schema"].clone();
    schema["components"] = file["components"].clone();
    assert!(!jsonschema::is_valid(&schema, &json!({"unit": "web", "state": 3})));
}
