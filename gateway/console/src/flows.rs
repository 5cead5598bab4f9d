//! Connections that are open now. Their rates, and the picture of what each class moves, are drawn by the script from
//! what it asks for again and again.

use askama::Template;
use mexe_model::{AppId, FlowId, RunId};
use serde::Deserialize;

use crate::foreign::{Foreign, Word};
use crate::words::{Bytes, Domain, counted};

/// One open flow, as `/v1/flows` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Flow {
    id: FlowId,
    run: RunId,
    app: AppId,
    #[serde(default)]
    domain: Domain,
    #[serde(default)]
    target: Foreign,
    #[serde(default)]
    address: Foreign,
    class: Word,
    #[serde(default)]
    ingress: Foreign,
    #[serde(default)]
    opened_at: Foreign,
    #[serde(default)]
    bytes_up: Bytes,
    #[serde(default)]
    bytes_down: Bytes,
}

/// The page of flows.
#[derive(Template)]
#[template(path = "flows.html")]
pub struct Flows {
    flows: Vec<Flow>,
    left_out: usize,
}

impl Flows {
    /// More than these are not drawn: a page of ten thousand rows helps nobody.
    const MOST: usize = 200;

    /// Of these flows; the newest when there are very many.
    pub fn of(mut flows: Vec<Flow>) -> Self {
        let left_out = flows.len().saturating_sub(Self::MOST);
        flows.drain(..left_out);
        Self { flows, left_out }
    }
}
