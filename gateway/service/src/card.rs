//! The card of the device: read through the modem that carries the bearer or, in the laboratory, out of the directory or
//! the card reader that the configuration names, and read again when it changes. What a card holds is decoded by crate mexe-certs; what it means
//! for the roots of this device is [`crate::trust`]'s.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mexe_card::Origin;
use mexe_certs::root_store::RootKind;
use mexe_certs::usim::{CandidateCertificate, Image, decode};
use mexe_certs::{Fingerprint, Rules};

use crate::config::{Bearer, BearerKind, CardSource, Config, Guard};
use crate::gate::Gate;
use crate::trust::{CardFacts, CardRoot, change};

/// A file of a card's image is never larger, bytes.
const LARGEST: u64 = 256 << 10;
/// How often a directory is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a look may take: a slow card with all its certificates, and not for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a modem that is gone, or a card that could not be read, is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What of a card counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose card it is.
    pub facts: CardFacts,
    /// Its roots: whose they are, from which record, and what they are.
    pub roots: Vec<(RootKind, String, CardRoot)>,
    /// What is wrong with its records, one line each.
    pub problems: Vec<String>,
}

impl Seen {
    /// What of a card's image counts. `None` for one without a number: nobody could accept anything of it.
    pub fn of(image: &Image, origin: Origin) -> Option<Self> {
        let card = decode(image);
        let iccid = card.iccid.clone()?;
        let place =
            |record: &str| format!("{} {record}", if origin.is_lab() { "card (lab)" } else { "card" });
        // Those of the legacy rules as well: a reload may switch them on while the card stays.
        let every = Rules { legacy: true, ..Rules::default() };
        let roots = card.candidates(every).into_iter().map(|candidate| {
            let root = match candidate.certificate {
                CandidateCertificate::X509(der) => CardRoot::X509(der.to_vec()),
                CandidateCertificate::Wtls(certificate) => CardRoot::Wtls(certificate.clone()),
            };
            (candidate.kind, place(&candidate.record.place()), root)
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
pub fn in_directory(dir: &Path, guard: &Guard) -> Option<Seen> {
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
        Ok(image) => Seen::of(&image, Origin::Directory),
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

/// Watches the card as long as the gate runs: that of the modem, else that in the directory or the card reader.
pub async fn watch(gate: Arc<Gate>, guard: Guard) {
    let config = gate.config();
    let modem = modem(&config).map(|(bearer, device)| (bearer.name.clone(), device.to_owned()));
    drop(config);
    match modem {
        Some((name, device)) => watch_modem(gate, name, device).await,
        None => watch_lab(gate, guard).await,
    }
}

/// What the configuration names at that moment: a reload may name another place, or none.
async fn watch_lab(gate: Arc<Gate>, guard: Guard) {
    let mut reader = Reader::default();
    loop {
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let source = gate.config().trust.usim.clone();
        let looked_into = source.clone();
        // Nothing but a handful of small files, but a disk may sleep; and a card takes its time.
        let mut looking = tokio::task::spawn_blocking(move || {
            let looked = match source {
                None => Some(None),
                Some(CardSource::Directory(dir)) => Some(in_directory(&dir, &guard)),
                Some(CardSource::Reader(name)) => return (reader.look(name), reader),
            };
            // What a card reader held is not known any more once nobody looks into it.
            (looked, Reader::default())
        });
        let looked = tokio::select! {
            () = gate.stopped() => return,
            looked = &mut looking => looked,
            () = tokio::time::sleep(PATIENCE) => {
                tracing::warn!(?PATIENCE, "looking for the card takes too long; it counts as gone");
                change::card(&gate, None).await;
                // One look at a time: the next begins when this one gave up.
                tokio::select! {
                    () = gate.stopped() => return,
                    _ = looking => {}
                }
                reader = Reader::default();
                continue;
            }
        };
        let seen;
        (seen, reader) = looked.unwrap_or_else(|failed| {
            tracing::error!(%failed, "looking for the card failed; it counts as gone until the next look");
            (Some(None), Reader::default())
        });
        // A card takes its time, and meanwhile another place may count.
        if gate.config().trust.usim != looked_into {
            reader = Reader::default();
            continue;
        }
        if let Some(seen) = seen {
            change::card(&gate, seen).await;
        }
    }
}

/// A card reader, and what is known of the card in it.
#[cfg(feature = "pcsc")]
#[derive(Debug, Default)]
struct Reader {
    known: Known,
}

/// What a look into a card reader left behind.
#[cfg(feature = "pcsc")]
#[derive(Debug, Default, PartialEq, Eq)]
enum Known {
    #[default]
    Nothing,
    /// It was read, in that reader. What happens in others does not matter.
    Read(Slot, mexe_card::reader::ReaderName),
    /// It could not be read, and is tried again then.
    Unreadable(Slot, std::time::Instant),
}

/// Which reader was looked into, and what came and went there.
#[cfg(feature = "pcsc")]
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    name: Option<String>,
    presence: mexe_card::reader::Presence,
}

#[cfg(feature = "pcsc")]
impl Slot {
    fn is_same_in(&self, reader: &mexe_card::reader::ReaderName, since: &Self) -> bool {
        self.name == since.name && self.presence.is_same_in(reader, &since.presence)
    }
}

#[cfg(feature = "pcsc")]
impl Reader {
    /// The card that is there now; the outer `None`: as before.
    fn look(&mut self, name: Option<String>) -> Option<Option<Seen>> {
        let slot = match mexe_card::reader::Presence::look(name.as_deref()) {
            Ok(presence) if presence.has_card() => Slot { name, presence },
            Ok(_) | Err(_) => {
                self.known = Known::Nothing;
                return Some(None);
            }
        };
        let said = match &self.known {
            Known::Read(read, reader) if slot.is_same_in(reader, read) => return None,
            Known::Unreadable(tried, again) if *tried == slot => {
                if std::time::Instant::now() < *again {
                    return None;
                }
                true
            }
            // The card that counts is not that any more, and reading the next one takes its time: gone first.
            Known::Read(..) => {
                self.known = Known::Nothing;
                return Some(None);
            }
            Known::Unreadable(..) | Known::Nothing => false,
        };
        match mexe_card::reader::read(slot.name.as_deref()) {
            Ok((image, reader)) => {
                self.known = Known::Read(slot, reader);
                Some(Seen::of(&image, Origin::Reader))
            }
            Err(fault) => {
                if !said {
                    tracing::warn!(%fault, "the card in the card reader cannot be read; it is tried again");
                }
                self.known = Known::Unreadable(slot, std::time::Instant::now() + AGAIN);
                Some(None)
            }
        }
    }
}

#[cfg(not(feature = "pcsc"))]
#[derive(Debug, Default)]
struct Reader {
    said: bool,
}

#[cfg(not(feature = "pcsc"))]
impl Reader {
    fn look(&mut self, _name: Option<String>) -> Option<Option<Seen>> {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!("this build knows no card readers (feature pcsc): their cards do not count");
        }
        Some(None)
    }
}

#[cfg(feature = "modem")]
async fn watch_modem(gate: Arc<Gate>, name: String, device: String) {
    use mexe_card::modem::{Modem, Timing};
    use mexe_card::watch::{Event, Options, Watch};
    loop {
        let open = async {
            let port = mexe_card::serial::open(&device, BAUD)?;
            Modem::open(port, Timing::default()).await
        };
        let opened = tokio::select! {
            () = gate.stopped() => return,
            opened = open => opened,
        };
        match opened {
            Err(fault) => tracing::warn!(device, %fault, "the modem cannot be used; its card counts as gone"),
            Ok(modem) => {
                let mut watch = Watch::new(modem, Options::default());
                gate.set_voice(Some(watch.voice()));
                let control = gate.bearers.modem(&name);
                if let Some(control) = control {
                    control.attach(watch.contexts());
                }
                loop {
                    let stops = async {
                        gate.stopped().await;
                        gate.set_voice(None);
                        // What streams have of the network is given back while somebody serves the port.
                        let _ = tokio::time::timeout(LAST_WORD, gate.streams.all_given_back()).await;
                    };
                    let event = tokio::select! {
                        () = stops => None,
                        event = watch.next() => Some(event),
                    };
                    let Some(event) = event else {
                        // No app's call outlives the gate.
                        watch.stop().await;
                        return;
                    };
                    match event {
                        Ok(Event::Inserted(image) | Event::Changed(image)) => {
                            change::card(&gate, Seen::of(&image, Origin::Modem)).await;
                        }
                        Ok(Event::Removed(fault)) => {
                            tracing::info!(%fault, "the card is gone");
                            change::card(&gate, None).await;
                        }
                        Ok(Event::Ringing) => {
                            tracing::info!("somebody calls; nobody but the user answers");
                        }
                        Err(fault) => {
                            tracing::warn!(device, %fault, "the modem is gone");
                            break;
                        }
                    }
                }
                gate.set_voice(None);
                if let Some(control) = control {
                    control.detach();
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

/// How long streams may take to give back what they have of the network when the gate stops.
#[cfg(feature = "modem")]
const LAST_WORD: std::time::Duration = std::time::Duration::from_secs(4);

/// Most modems find the rate out by themselves, and those on USB have none.
#[cfg(feature = "modem")]
const BAUD: u32 = 115_200;

#[cfg(not(feature = "modem"))]
async fn watch_modem(_gate: Arc<Gate>, _name: String, device: String) {
    tracing::warn!(
        device,
        ?AGAIN,
        "this build cannot talk to modems (feature modem); their cards do not count"
    );
}
