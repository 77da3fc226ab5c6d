//! The description of the control socket for programs: OpenAPI 3.1, checked against the server by its tests.

/// docs/openapi.json, as served at `/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// `docs/openapi-manager.json`: the admin listener of `svmanager`.
pub const OPENAPI_MANAGER: &str = include_str!("../../docs/openapi-manager.json");
