//! `streams` and `qos`: the streams that have a quality of service, and how one is asked for, changed and released.

use mexe_model::{AppId, BitRate, RunId, StreamId};
use mexe_qos::TrafficClass;
use serde_json::{Map, Value, json};

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Ask for a stream; above best effort the user is asked unless he has permitted network.qos
#[derive(Debug, clap::Args)]
pub(super) struct Request {
    /// The app's id, or one of its runs, as in run-17
    #[arg(value_name = "APP|RUN")]
    whose: Whose,
    /// What the run calls it: the app names it so to the proxies
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    wish: Wish,
}

/// Change a stream; what is not said stays
#[derive(Debug, clap::Args)]
pub(super) struct Modify {
    /// The stream's id, as in stream-4
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    #[command(flatten)]
    wish: Wish,
}

/// Release a stream; its flows go on as best effort
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// The stream's id, as in stream-4
    #[arg(value_name = "STREAM")]
    stream: StreamId,
}

/// An app or a run.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    App(AppId),
    Run(RunId),
}

impl std::str::FromStr for Whose {
    type Err = mexe_model::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Run).or_else(|_| text.parse().map(Self::App))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Wish {
    /// The profile that says what the rest leaves open
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// conversational, streaming, interactive or background
    #[arg(long, value_name = "CLASS")]
    class: Option<TrafficClass>,
    /// The most up, as in "64 kbit/s"
    #[arg(long, value_name = "RATE")]
    max_up: Option<BitRate>,
    /// The most down
    #[arg(long, value_name = "RATE")]
    max_down: Option<BitRate>,
    /// What is to be kept free up
    #[arg(long, value_name = "RATE")]
    guaranteed_up: Option<BitRate>,
    /// What is to be kept free down
    #[arg(long, value_name = "RATE")]
    guaranteed_down: Option<BitRate>,
    /// Milliseconds that 95 of 100 packets stay below
    #[arg(long, value_name = "MS")]
    delay: Option<u64>,
    /// Which of several interactive streams goes first: 1, 2 or 3
    #[arg(long, value_name = "N")]
    priority: Option<u64>,
    /// How important it is when there is no room for all: 1 to 15, 1 is the most
    #[arg(long, value_name = "N")]
    level: Option<u64>,
    /// With --level: it may displace less important streams
    #[arg(long, requires = "level")]
    may_displace: bool,
    /// With --level: more important streams may displace it
    #[arg(long, requires = "level")]
    may_be_displaced: bool,
}

impl Wish {
    /// What is said of it, and nothing else.
    fn body(&self) -> Map<String, Value> {
        let arp = self.level.map(|level| {
            json!({
                "level": level,
                "pre_emption_capability": self.may_displace,
                "pre_emption_vulnerability": self.may_be_displaced,
            })
        });
        let said = [
            ("profile", json!(self.profile)),
            ("class", json!(self.class)),
            ("max_bitrate_up", json!(self.max_up)),
            ("max_bitrate_down", json!(self.max_down)),
            ("guaranteed_bitrate_up", json!(self.guaranteed_up)),
            ("guaranteed_bitrate_down", json!(self.guaranteed_down)),
            ("transfer_delay", json!(self.delay)),
            ("traffic_handling_priority", json!(self.priority)),
            ("arp", json!(arp)),
        ];
        let said = said.into_iter().filter(|(_, value)| !value.is_null());
        said.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

pub(super) fn request(args: &Request, global: &Global) -> Result<Exit, Stop> {
    let mut body = args.wish.body();
    match &args.whose {
        Whose::App(app) => body.insert("app".to_owned(), json!(app)),
        Whose::Run(run) => body.insert("run".to_owned(), json!(run)),
    };
    body.extend(args.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    let (path, body) = (ApiPath::new("/v1/streams"), body.into());
    let stream = global.with_gate(async |mut gate| Ok(gate.post_patiently(&path, &body).await?))?;
    global.print(&stream, |stream| output::facts(&readable(stream)))
}

pub(super) fn modify(args: &Modify, global: &Global) -> Result<Exit, Stop> {
    let (path, body) = (path(args.stream), args.wish.body().into());
    let stream = global.with_gate(async |mut gate| Ok(gate.patch_patiently(&path, &body).await?))?;
    global.print(&stream, |stream| output::facts(&readable(stream)))
}

pub(super) fn release(args: &Release, global: &Global) -> Result<Exit, Stop> {
    let path = path(args.stream);
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({ "released": args.stream }) } else { answer };
    global.print(&answer, |_| format!("released {}", args.stream))
}

/// The values with who had the last word on each in one line, in place of a list of objects.
pub(super) fn readable(shown: &Value) -> Value {
    let mut shown = shown.clone();
    let Some(fields) = shown.as_object_mut() else { return shown };
    if let Some(Value::Array(given)) = fields.remove("provenance") {
        let text = |given: &Value, key: &str| given.get(key).and_then(Value::as_str).map(str::to_owned);
        let line = |given: &Value| {
            let value = text(given, "value").unwrap_or_else(|| "none".to_owned());
            let source = text(given, "source")?;
            let asked = text(given, "asked").zip(text(given, "why"));
            let asked = asked.map(|(asked, why)| format!(", asked for {asked}: {why}"));
            let line = format!("{value} ({source}{})", asked.unwrap_or_default());
            Some((text(given, "attribute")?, Value::from(line)))
        };
        let lines: Map<String, Value> = given.iter().filter_map(line).collect();
        fields.remove("attributes");
        fields.insert("granted".to_owned(), lines.into());
    }
    shown
}

fn path(stream: StreamId) -> ApiPath {
    ApiPath::new("/v1/streams").segment(&stream.to_string())
}

pub(super) fn list(global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/streams")).await?))?;
    let columns = [
        ("id", "STREAM"),
        ("name", "NAME"),
        ("app", "APP"),
        ("run", "RUN"),
        ("profile", "PROFILE"),
        ("class", "CLASS"),
        ("state", "STATE"),
        ("reason", "REASON"),
        ("flows", "FLOWS"),
        ("began_at", "BEGAN"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no app has asked for a stream"))
}
