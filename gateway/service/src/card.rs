//! The card of the device: read out of the directory that the configuration names (in the laboratory), or through the modem
//! that carries the bearer, and read again when it changes. What a card holds is decoded by crate mexe-certs; what it means
//! for the roots of this device is [`crate::trust`]'s.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mexe_card::Origin;
use mexe_certs::root_store::RootKind;
use mexe_certs::usim::{CandidateCertificate, Image, decode};
use mexe_certs::{Fingerprint, Rules};

use crate::config::{Bearer, BearerKind, Config, Guard};
use crate::gate::Gate;
use crate::trust::{CardFacts, change};

/// A file of a card's image is never larger, bytes.
const LARGEST: u64 = 256 << 10;
/// How often a directory is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long to wait before a modem that is gone is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What of a card counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose card it is.
    pub facts: CardFacts,
    /// Its roots: whose they are, from which record, DER.
    pub roots: Vec<(RootKind, String, Vec<u8>)>,
    /// What is wrong with its records, one line each.
    pub problems: Vec<String>,
}

impl Seen {
    /// What of a card's image counts. `None` for one without a number: nobody could accept anything of it.
    pub fn of(image: &Image, origin: Origin, rules: Rules) -> Option<Self> {
        let card = decode(image);
        let iccid = card.iccid.clone()?;
        let place =
            |record: &str| format!("{} {record}", if origin.is_lab() { "card (lab)" } else { "card" });
        let roots = card.candidates(rules).into_iter().filter_map(|candidate| match candidate.certificate {
            CandidateCertificate::X509(der) => {
                Some((candidate.kind, place(&candidate.record.place()), der.to_vec()))
            }
            // A WTLS certificate is no X.509 root; what is signed under one is judged by nothing here.
            CandidateCertificate::Wtls(_) => None,
        });
        let of_record = card.records.iter().flat_map(|record| {
            record.problems.iter().map(|problem| format!("{}: {problem}", place(&record.place())))
        });
        let problems = of_record.chain(card.problems.iter().map(|(_, problem)| place(&problem.to_string())));
        let problems = problems.collect();
        let roots = roots.collect();
        let binding = card.binding.as_ref();
        let facts = CardFacts {
            iccid,
            network: binding.map(|binding| format!("{}{}", binding.network.mcc, binding.network.mnc)),
            spn: binding.and_then(|binding| binding.provider.clone()),
            gid1: binding.and_then(|binding| binding.group.as_deref()).map(crate::apps::hex),
            subscription: (!image.imsi.is_empty()).then(|| Fingerprint::of(image.imsi.as_bytes())),
        };
        Some(Self { facts, roots, problems })
    }
}

/// The card in the configured directory; `None` when there is none or it cannot be read.
pub fn in_directory(dir: &Path, guard: &Guard, rules: Rules) -> Option<Seen> {
    let read = |name: &str| {
        let path = dir.join(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(_) => guard.read(&path, LARGEST).map(Some).map_err(io::Error::other),
        }
    };
    let image = guard.folder(dir).map_err(|error| error.to_string());
    let image = image.and_then(|()| mexe_card::directory::read(read).map_err(|error| error.to_string()));
    match image {
        Ok(image) => Seen::of(&image, Origin::Directory, rules),
        Err(why) => {
            tracing::debug!(dir = %dir.display(), why, "there is no card in the directory");
            None
        }
    }
}

/// The modem whose card counts, if the configuration names one.
pub fn modem(config: &Config) -> Option<(&Bearer, &str)> {
    let modems = config.bearers.iter().filter(|bearer| bearer.kind == BearerKind::Modem);
    modems.filter_map(|bearer| Some((bearer, bearer.device.as_deref()?))).next()
}

/// Watches the card as long as the gate runs: that of the modem, else that in the directory.
pub async fn watch(gate: Arc<Gate>, guard: Guard) {
    let config = gate.config();
    let modem = modem(&config).map(|(_, device)| device.to_owned());
    drop(config);
    match modem {
        Some(device) => watch_modem(gate, device).await,
        None => watch_directory(gate, guard).await,
    }
}

/// The directory that the configuration names at that moment: a reload may name another, or none.
async fn watch_directory(gate: Arc<Gate>, guard: Guard) {
    loop {
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let (dir, rules) = (gate.config().trust.usim.clone(), gate.trusted().sources.rules);
        let Some(dir) = dir else {
            change::card(&gate, None).await;
            continue;
        };
        // Nothing but a handful of small files, but a disk may sleep.
        let seen = tokio::task::spawn_blocking(move || in_directory(&dir, &guard, rules)).await;
        if let Ok(seen) = seen {
            change::card(&gate, seen).await;
        }
    }
}

#[cfg(feature = "modem")]
async fn watch_modem(gate: Arc<Gate>, device: String) {
    use mexe_card::modem::{Modem, Timing};
    use mexe_card::watch::{Event, Options, Watch};
    loop {
        let opened = match mexe_card::serial::open(&device, BAUD) {
            Ok(port) => Modem::open(port, Timing::default()).await,
            Err(fault) => Err(fault),
        };
        match opened {
            Err(fault) => tracing::warn!(device, %fault, "the modem cannot be used; its card counts as gone"),
            Ok(modem) => {
                let mut watch = Watch::new(modem, Options::default());
                loop {
                    let event = tokio::select! {
                        () = gate.stopped() => return,
                        event = watch.next() => event,
                    };
                    let rules = gate.trusted().sources.rules;
                    match event {
                        Ok(Event::Inserted(image) | Event::Changed(image)) => {
                            change::card(&gate, Seen::of(&image, Origin::Modem, rules)).await;
                        }
                        Ok(Event::Removed(fault)) => {
                            tracing::info!(%fault, "the card is gone");
                            change::card(&gate, None).await;
                        }
                        Err(fault) => {
                            tracing::warn!(device, %fault, "the modem is gone");
                            break;
                        }
                    }
                }
            }
        }
        change::card(&gate, None).await;
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Most modems find the rate out by themselves, and those on USB have none.
#[cfg(feature = "modem")]
const BAUD: u32 = 115_200;

#[cfg(not(feature = "modem"))]
async fn watch_modem(_gate: Arc<Gate>, device: String) {
    tracing::warn!(
        device,
        ?AGAIN,
        "this build cannot talk to modems (feature modem); their cards do not count"
    );
}
