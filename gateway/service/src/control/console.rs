//! The web console on the console's port: a shell and static files for anybody, pages for the user alone. A page is made
//! of what the API answers to the same caller, so that it can show and do nothing that the API does not.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::{self, Body};
use axum::extract::{Extension, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mexe_certs::ccm::CcmLimits;
use mexe_console::asset::Asset;
use mexe_console::{
    Administrator, App, Apps, Bearer, Candidate, Denial, Flow, Flows, Foreign, Grant, Grants, Journal,
    Judged, Largest, Limit, List, Package, Profile, Quality, Question, Questions, Record, Root, Roots, Run,
    Schedule, Settable, Shadow, Stream, Sum, Template, Threshold, Usage, Verified, Word,
};
use mexe_journal::VerifyError;
use mexe_model::Reason;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::extract::Asked;
use super::problem::Problem;
use super::role::Caller;
use super::{LARGEST_TABLE, listen};
use crate::accounting;
use crate::clock;
use crate::gate::Gate;

/// The shell and the static files: no data in them, so nobody is asked who he is.
pub fn shell_router() -> Router {
    Router::new().route("/", get(shell)).route("/static/{name}", get(asset))
}

/// The pages, behind the role table. `api` is what they are made of. Whoever serves it adds the [`Caller`] first.
pub fn pages_router(gate: Arc<Gate>, api: Router) -> Router {
    Router::new()
        .route("/console/questions", get(questions))
        .route("/console/apps", get(apps))
        .route("/console/flows", get(flows))
        .route("/console/grants", get(grants))
        .route("/console/journal", get(journal))
        .route("/console/roots", get(roots))
        .route("/console/quality", get(quality))
        .route("/console/shadow", get(shadow))
        .route("/console/usage", get(usage))
        .route("/console/install", post(install))
        .route("/console/fetch", post(fetch))
        .route("/console/verify", get(verify))
        .route("/console/throughput", get(throughput))
        .layer(middleware::from_fn(listen::only_admitted))
        .layer(Extension(Api(api)))
        .with_state(gate)
}

/// Whatever the console's port answers: a page of ours loads from here alone, runs nothing inline, and is in nobody's
/// frame; nothing is kept but what says so itself.
pub async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in GUARD {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

const GUARD: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

async fn shell() -> Response {
    match mexe_console::shell() {
        Ok(page) => html(page),
        Err(error) => unmade(error).into_response(),
    }
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = Asset::named(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = format!("\"{}\"", asset.version());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let kept =
        [(header::ETAG, tag), (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned())];
    match known {
        true => (StatusCode::NOT_MODIFIED, kept).into_response(),
        false => (kept, [(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response(),
    }
}

/// The API, asked in the caller's name.
#[derive(Clone)]
struct Api(Router);

impl Api {
    /// What it answers to GET; its own refusal when it refuses.
    async fn get(&self, caller: &Caller, path: &str) -> Result<Value, NoPage> {
        self.ask(caller, path, Request::new(Body::empty())).await
    }

    /// What it answers to that request at that path.
    async fn ask(&self, caller: &Caller, path: &str, mut request: Request) -> Result<Value, NoPage> {
        *request.uri_mut() = path.parse().map_err(malformed)?;
        request.extensions_mut().insert(caller.clone());
        let Ok(response) = self.0.clone().oneshot(request).await;
        if !response.status().is_success() {
            return Err(NoPage(Box::new(response)));
        }
        let bytes = body::to_bytes(response.into_body(), LARGEST).await;
        let bytes = bytes.map_err(unmade)?;
        serde_json::from_slice(&bytes).map_err(unmade)
    }

    /// The items of a list.
    async fn list<T: DeserializeOwned>(&self, caller: &Caller, path: &str) -> Result<Vec<T>, NoPage> {
        let mut list = self.get(caller, path).await?;
        read(list.get_mut("items").map(Value::take).unwrap_or_default())
    }
}

/// More than this is not made a page of, bytes.
const LARGEST: usize = 64 << 20;

fn read<T: DeserializeOwned>(value: Value) -> Result<T, NoPage> {
    serde_json::from_value(value).map_err(unmade)
}

fn shown(page: &impl Template) -> Result<Response, NoPage> {
    page.render().map(html).map_err(unmade)
}

fn html(page: String) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// The answer in place of a page.
struct NoPage(Box<Response>);

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Problem> for NoPage {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem.into_response()))
    }
}

fn malformed(error: impl Display) -> NoPage {
    Problem::malformed(format!("the query is not as expected: {error}")).into()
}

fn unmade(error: impl Display) -> NoPage {
    let detail = format!("the page cannot be made: {error}; report this\n");
    NoPage(Box::new((StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()))
}

type Page = Result<Response, NoPage>;

async fn questions(
    State(gate): State<Arc<Gate>>,
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
) -> Page {
    let questions: Vec<Question> = api.list(&caller, "/v1/prompts").await?;
    let denials: Vec<Denial> = api.list(&caller, "/v1/prompts?denied=true").await?;
    let phrase = gate.status().get("phrase").and_then(Value::as_str).map(Foreign::new);
    shown(&Questions::of(questions, denials, phrase))
}

async fn apps(
    State(gate): State<Arc<Gate>>,
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
) -> Page {
    let apps: Vec<App> = api.list(&caller, "/v1/apps").await?;
    let runs: Vec<Run> = api.list(&caller, "/v1/runs").await?;
    let grants: Vec<Grant> = api.list(&caller, "/v1/grants").await?;
    shown(&Apps::of(apps, &runs, &grants, gate.config().limits.package))
}

/// Installs the package in the body, as the API does, and shows what it is.
async fn install(
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Page {
    let path = format!("/v1/apps?{}", query.unwrap_or_default());
    let package: Package = read(api.ask(&caller, &path, request).await?)?;
    shown(&Judged::of(package))
}

/// Fetches a package, as the API does, and shows what it is; the user then installs it, or throws it away.
async fn fetch(Extension(api): Extension<Api>, caller: Extension<Caller>, request: Request) -> Page {
    let package: Package = read(api.ask(&caller, "/v1/fetches", request).await?)?;
    shown(&Judged::of(package))
}

async fn flows(Extension(api): Extension<Api>, caller: Extension<Caller>) -> Page {
    let flows: Vec<Flow> = api.list(&caller, "/v1/flows").await?;
    shown(&Flows::of(flows))
}

async fn grants(Extension(api): Extension<Api>, caller: Extension<Caller>) -> Page {
    let grants: Vec<Grant> = api.list(&caller, "/v1/grants").await?;
    let apps: Vec<App> = api.list(&caller, "/v1/apps").await?;
    let schedules: Vec<Schedule> = api.list(&caller, "/v1/schedules").await?;
    shown(&Grants::of(grants, schedules, apps))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    #[serde(default)]
    app: String,
    #[serde(default)]
    reason: String,
    /// How long ago, as in `1h`.
    #[serde(default)]
    since: String,
}

/// Records that a page looks at.
const RECORDS: &str = "500";

async fn journal(
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
    Asked(query): Asked<JournalQuery>,
) -> Page {
    let now = clock::wall();
    let since = match query.since.as_str() {
        "" => String::new(),
        ago => {
            let ago = crate::config::parse_duration(ago).map_err(malformed)?;
            let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            mexe_model::WallTime::from_millis(now.as_millis().saturating_sub(ago)).to_string()
        }
    };
    let (app, reason) = (query.app.trim().to_owned(), query.reason.trim().to_owned());
    let fields = [("app", app), ("reason", reason), ("since", since), ("limit", RECORDS.to_owned())];
    let asked: Vec<String> = fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", percent_encoded(&value)))
        .collect();
    let records: Vec<Record> = api.list(&caller, &format!("/v1/journal?{}", asked.join("&"))).await?;
    shown(&Journal::of(records, now))
}

fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let byte = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

async fn roots(
    State(gate): State<Arc<Gate>>,
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
) -> Page {
    let roots: Vec<Root> = api.list(&caller, "/v1/roots").await?;
    let lists: Vec<List> = api.list(&caller, "/v1/lists").await?;
    let administrator: Administrator = read(api.get(&caller, "/v1/administrator").await?)?;
    let largest = Largest {
        certificate: gate.config().limits.body,
        list: crate::trust::LARGEST_LIST,
        message: u64::try_from(CcmLimits::default().message).unwrap_or(u64::MAX),
    };
    shown(&Roots::of(roots, lists, administrator, largest))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageQuery {
    /// Over so many days, today included.
    #[serde(default = "UsageQuery::days")]
    days: u16,
}

impl UsageQuery {
    fn days() -> u16 {
        7
    }
}

async fn usage(
    State(gate): State<Arc<Gate>>,
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
    Asked(query): Asked<UsageQuery>,
) -> Page {
    let first = clock::local().day().saturating_sub(i64::from(query.days.max(1)) - 1);
    let since = accounting::civil(first).map_or_else(String::new, |date| format!("&since={date}"));
    let days: Vec<Sum> = api.list(&caller, &format!("/v1/usage?by=day{since}")).await?;
    let sums: Vec<Sum> = api.list(&caller, &format!("/v1/usage?by=app,class{since}")).await?;
    let thresholds: Vec<Threshold> = api.list(&caller, "/v1/thresholds").await?;
    let limits: Vec<Limit> = api.list(&caller, "/v1/limits").await?;
    let installed: Vec<App> = api.list(&caller, "/v1/apps").await?;
    let bearers = gate.config().bearers.iter().map(|bearer| Foreign::new(bearer.name.clone())).collect();
    shown(&Usage::of(days, sums, Settable { thresholds, limits, installed, bearers }))
}

async fn shadow(Extension(api): Extension<Api>, caller: Extension<Caller>) -> Page {
    let candidate: Candidate = read(api.get(&caller, "/v1/shadow").await?)?;
    shown(&Shadow::of(candidate, LARGEST_TABLE))
}

async fn quality(
    State(gate): State<Arc<Gate>>,
    Extension(api): Extension<Api>,
    caller: Extension<Caller>,
) -> Page {
    #[derive(Deserialize)]
    struct OfClass {
        class: Word,
    }
    let flows: Vec<OfClass> = api.list(&caller, "/v1/flows").await?;
    let open: Vec<Word> = flows.into_iter().map(|flow| flow.class).collect();
    let profile = |profile: &Arc<mexe_qos::Profile>| Profile {
        name: Foreign::new(&*profile.name),
        description: Foreign::new(profile.description.clone()),
        class: profile.class.as_str(),
        up: profile.max_bitrate_up,
        down: profile.max_bitrate_down,
        burst: profile.burst,
        rules: profile.rules.iter().map(|rule| Foreign::new(rule.to_string())).collect(),
    };
    let profiles: Vec<Profile> = gate.profiles().iter().map(profile).collect();
    let bearers: Vec<Bearer> = api.list(&caller, "/v1/bearers").await?;
    let streams: Vec<Stream> = api.list(&caller, "/v1/streams").await?;
    shown(&Quality::of(bearers, profiles, streams, &open))
}

/// Looks at the whole chain of the journal.
async fn verify(State(gate): State<Arc<Gate>>) -> Page {
    let path = gate.journal.path().to_owned();
    let found = tokio::task::spawn_blocking(move || mexe_journal::verify(&path)).await;
    let found = match found.map_err(unmade)? {
        Ok(report) => Verified {
            holds: true,
            records: report.records,
            unsealed_tail: report.unsealed_tail,
            fault: Foreign::default(),
        },
        Err(VerifyError::Unreadable(error)) => {
            return Err(Problem::new(Reason::JournalUnavailable, error.to_string()).into());
        }
        Err(broken) => {
            Verified { holds: false, records: 0, unsealed_tail: 0, fault: Foreign::new(broken.to_string()) }
        }
    };
    shown(&found)
}

/// What each class has moved since the gate started, bytes: the picture is drawn from the differences.
async fn throughput(State(gate): State<Arc<Gate>>) -> Json<Value> {
    gate.settle_flow_bytes();
    let classes = gate.metrics.moved_by_class();
    let class = |(class, up, down): (mexe_qos::TrafficClass, u64, u64)| json!({ "class": class.as_str(), "up": up, "down": down });
    Json(json!({ "classes": classes.map(class) }))
}
