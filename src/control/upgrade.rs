//! `POST /v1/upgrade`: asks the driver to go on as the program on the disk.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use hyper::http::Response;
use hyper::{StatusCode, Version};
use serde::Deserialize;

use crate::api::upgrade::UpgradeLine;
use crate::control::refusal::Refused;
use crate::control::routes::{Asked, Shared};
use crate::control::server::Visitor;
use crate::control::stream::{self, Form, Line, Sink, Topic};
use crate::runtime::clients::Wire;
use crate::runtime::handle::{Extent, Gone, UpgradeNote};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    /// Only test.
    #[serde(default, rename = "try")]
    only_try: bool,
}

pub(crate) async fn post(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    how: Asked<How>,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
) -> Result<Response<Body>, Refused> {
    let extent = if how?.only_try { Extent::Try } else { Extent::Change };
    let who = visitor.who.words();
    if extent == Extent::Change {
        tracing::info!("upgrade was asked for by {who}");
    }
    let mut notes = shared.handle.upgrade(format!("svctl upgrade by {who}"), extent).await?;
    let tested = match notes.recv().await.ok_or(Gone)? {
        UpgradeNote::Fit(upgrade) => {
            UpgradeLine::Tested { from: upgrade.from, to: upgrade.to, upgrades: upgrade.upgrades }
        }
        UpgradeNote::Refused(why) => return Err(Refused::cannot(why)),
    };
    let line = Line::of(wire, version, Topic::Upgrade);
    Ok(stream::answer(StatusCode::OK, Form::Lines, line, async move |sink: Sink| {
        sink.send(&tested).await?;
        match notes.recv().await {
            Some(UpgradeNote::Refused(why)) => sink.send(&UpgradeLine::Failed { why }).await,
            Some(UpgradeNote::Fit(_)) | None => Ok(()),
        }
    }))
}
