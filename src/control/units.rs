//! Units: what they are, what they are made of, what they start with.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use hyper::StatusCode;
use hyper::http::Response;
use serde::Deserialize;

use crate::api::status::{Definition, Environment};
use crate::control::convert::{self, Measure};
use crate::control::names;
use crate::control::refusal::{Refused, json};
use crate::control::routes::{Asked, Shared};
use crate::runtime::disk;
use crate::runtime::handle::{Gone, Reader};
use crate::units::name::UnitName;

/// `?usage=true&units=a,b`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    #[serde(default)]
    usage: bool,
    units: Option<String>,
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    which: Asked<Which>,
) -> Result<Response<Body>, Refused> {
    let Query(which) = which?;
    let reader = shared.handle.reader();
    let set = reader.set();
    let wanted = names::of_query(&set, which.units.as_deref())?;
    let measured = if which.usage {
        measure(&shared, wanted.clone().unwrap_or_default()).await?
    } else {
        BTreeMap::new()
    };
    let is_wanted = |name: &UnitName| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
    let mut views = reader.units();
    views.sort_by(|one, other| one.name.parts().cmp(&other.name.parts()));
    let shown: Vec<_> = views
        .iter()
        .filter(|view| is_wanted(&view.name))
        .map(|view| {
            let spec = set.units.get(&view.name).map(|spec| &**spec);
            convert::unit(reader, view, spec, measured.get(&view.name).copied(), differs(reader, &view.name))
        })
        .collect();
    Ok(json(StatusCode::OK, &shown))
}

pub(crate) async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    which: Asked<Which>,
) -> Result<Response<Body>, Refused> {
    let Query(which) = which?;
    let reader = shared.handle.reader();
    let set = reader.set();
    let name = names::one(&set, &name)?;
    let measured = if which.usage { measure(&shared, vec![name.clone()]).await? } else { BTreeMap::new() };
    let view = reader.unit(name.as_str()).ok_or_else(|| Refused::no_such_unit(name.as_str(), Vec::new()))?;
    let spec = set.units.get(&name).map(|spec| &**spec);
    let measure = measured.get(&name).copied();
    Ok(json(StatusCode::OK, &convert::unit(reader, &view, spec, measure, differs(reader, &name))))
}

pub(crate) async fn definition(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Refused> {
    let reader = shared.handle.reader();
    let set = reader.set();
    // All instances have one file; the first stands for all.
    let name = names::all_of(&set, &name)?.swap_remove(0);
    let sources = reader.sources(&name);
    let effective = set.units.get(&name).map(|spec| (reader.info().effective)(spec)).unwrap_or_default();
    let definition = Definition {
        unit: name.to_string(),
        files: sources.iter().map(|source| source.path.display().to_string()).collect(),
        texts: sources.into_iter().map(|source| source.text).collect(),
        effective,
    };
    Ok(json(StatusCode::OK, &definition))
}

pub(crate) async fn environment(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Refused> {
    let name = names::one(&shared.handle.reader().set(), &name)?;
    let variables = shared.handle.environment(name.clone()).await?.map_err(Refused::cannot)?;
    Ok(json(StatusCode::OK, &Environment { unit: name.to_string(), variables }))
}

fn differs(reader: &Reader, name: &UnitName) -> bool {
    disk::differs(name, &reader.sources(name), &reader.info().unit_paths)
}

async fn measure(shared: &Shared, units: Vec<UnitName>) -> Result<BTreeMap<UnitName, Measure>, Gone> {
    let usage = shared.handle.usage(units).await?;
    let reader = shared.handle.reader();
    let set = reader.set();
    Ok(shared.samples.look((reader.info().clock)(), usage, |name| set.units.contains_key(name)))
}
