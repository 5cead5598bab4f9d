//! The data side of the fake modem (TS 27.007): contexts, what is asked of them and what a network of limited means gives:
//! a stored profile that counts from the next activation or modification on, a subscription that lowers it, a minimum that
//! is checked, changes by the network, and every way in which an answer can be wrong. Independent of what talks to it: it
//! keeps fields as text and reads only what its network has to know.

use std::collections::BTreeMap;
use std::time::Duration;

/// What this modem and its network do about contexts.
#[derive(Debug, Clone)]
pub struct ContextHabits {
    /// Knows +CGEQREQ, +CGEQMIN and +CGEQNEG.
    pub umts: bool,
    /// Knows +CGEQOS and +CGEQOSRDP.
    pub eps: bool,
    /// Knows +CGDSCONT and +CGTFT.
    pub secondary: bool,
    /// Knows +CGBRRREP.
    pub rates: bool,
    /// Tells of what happens (+CGEV), once it is told to.
    pub events: bool,
    /// The access point that there is.
    pub apn: &'static str,
    /// The most that is subscribed, up and down, kbit/s.
    pub most: (u32, u32),
    /// What the network guarantees in all, up and down, kbit/s.
    pub guarantees: (u32, u32),
    /// How many contexts may be active.
    pub contexts: usize,
    /// How long the network takes.
    pub network: Duration,
    /// What goes wrong, by how the command begins.
    pub wrong: Vec<(&'static str, Wrong)>,
}

impl Default for ContextHabits {
    fn default() -> Self {
        Self {
            umts: true,
            eps: false,
            secondary: true,
            rates: true,
            events: true,
            apn: "internet",
            most: (2_000, 8_000),
            guarantees: (128, 256),
            contexts: 4,
            network: Duration::ZERO,
            wrong: Vec::new(),
        }
    }
}

/// How an answer is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// This error; `ERROR` without a number.
    Error(Option<u16>),
    /// The answer stops in the middle of a line.
    Half,
    /// These lines instead, and `OK`.
    Says(&'static str),
    /// Nothing.
    Silent,
}

/// A profile, as far as the network looks at it: kbit/s, up and down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The class of the AT command, or the QCI.
    pub class: u8,
    /// The most.
    pub maximum: (u32, u32),
    /// What is guaranteed.
    pub guaranteed: (u32, u32),
    /// The other fields of a UMTS profile, as they came.
    pub rest: Vec<String>,
}

impl Profile {
    fn umts(fields: &[&str]) -> Option<Self> {
        let number = |at: usize| {
            fields.get(at).map_or(Some(0), |f| if f.is_empty() { Some(0) } else { f.parse().ok() })
        };
        let class = fields.first()?.parse().ok().filter(|class| *class <= 4)?;
        Some(Self {
            class,
            maximum: (number(1)?, number(2)?),
            guaranteed: (number(3)?, number(4)?),
            rest: fields.iter().skip(5).map(|field| (*field).to_owned()).collect(),
        })
    }

    /// Downlink comes first here.
    fn eps(fields: &[&str]) -> Option<Self> {
        let number = |at: usize| {
            fields.get(at).map_or(Some(0), |f| if f.is_empty() { Some(0) } else { f.parse().ok() })
        };
        Some(Self {
            class: fields.first()?.parse().ok()?,
            maximum: (number(4)?, number(3)?),
            guaranteed: (number(2)?, number(1)?),
            rest: Vec::new(),
        })
    }
}

/// A context.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Beside which it stands.
    pub primary: Option<u8>,
    /// Its access point.
    pub apn: String,
    /// Whether it is active.
    pub active: bool,
    /// What is to be asked for.
    pub stored: Option<Profile>,
    /// Below this, it is not taken.
    pub minimum: Option<Profile>,
    /// What it has.
    pub given: Option<Profile>,
    /// Which packets are its own.
    pub filter: Option<String>,
}

/// The contexts of a modem.
#[derive(Debug, Clone)]
pub struct ContextSide {
    /// Each by its number.
    pub contexts: BTreeMap<u8, Context>,
    /// Whether the device is on the network.
    pub attached: bool,
    /// What it says of its registration, by the command's name; the others it does not know.
    pub registered: BTreeMap<&'static str, &'static str>,
    reports: bool,
    rate_reports: bool,
}

impl Default for ContextSide {
    fn default() -> Self {
        let first = Context { apn: "internet".to_owned(), ..Context::default() };
        Self {
            contexts: BTreeMap::from([(1, first)]),
            attached: true,
            registered: BTreeMap::from([("+CEREG", "0,1"), ("+CGREG", "0,0"), ("+CREG", "0,1")]),
            reports: false,
            rate_reports: false,
        }
    }
}

type Done = Result<Option<String>, Option<u16>>;

impl ContextSide {
    /// Activates the first context with what is subscribed, as something else on the device does.
    pub(crate) fn activate_first(&mut self, habits: &ContextHabits) {
        let _ = self.activate(1, habits);
    }

    /// The network changes what a context has; what the modem says about it.
    pub(crate) fn network_modifies(&mut self, cid: u8, change: impl FnOnce(&mut Profile)) -> String {
        if let Some(given) = self.contexts.get_mut(&cid).and_then(|context| context.given.as_mut()) {
            change(given);
        }
        self.event(&format!("NW MODIFY {cid},2,0"))
    }

    /// The network takes a context away, and those beside it.
    pub(crate) fn network_drops(&mut self, cid: u8) -> String {
        let primary = self.contexts.get(&cid).and_then(|context| context.primary);
        self.deactivate(cid);
        match primary {
            Some(primary) => self.event(&format!("NW DEACT {primary},{cid},0")),
            None => self.event(&format!("NW PDN DEACT {cid}")),
        }
    }

    /// The base station recommends a rate.
    pub(crate) fn recommends(&self, rate: u32, direction: u8) -> String {
        if self.rate_reports { format!("\r\n+CGBRRREP: {rate},{direction},1,1\r\n") } else { String::new() }
    }

    fn event(&self, text: &str) -> String {
        if self.reports { format!("\r\n+CGEV: {text}\r\n") } else { String::new() }
    }

    /// Answers a command for contexts; `None` when it is another.
    pub(crate) fn done(&mut self, line: &str, habits: &ContextHabits) -> Option<Done> {
        if let Some(name) = line.strip_prefix("AT").and_then(|line| line.strip_suffix("REG?")) {
            let name = format!("{name}REG");
            return Some(self.registered.get(&*name).map(|said| Some(format!("{name}: {said}"))).ok_or(None));
        }
        let rest = line.strip_prefix("AT+CG")?;
        let end = rest.find(['=', '?']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let known = match name {
            "DCONT" | "ACT" | "CMOD" | "EREP" => true,
            "DSCONT" | "TFT" => habits.secondary,
            "EQREQ" | "EQMIN" | "EQNEG" => habits.umts,
            "EQOS" | "EQOSRDP" => habits.eps,
            "BRRREP" => habits.rates,
            _ => return None,
        };
        if !known {
            return Some(Err(None));
        }
        Some(match (name, rest) {
            ("ACT", "?") => Ok(self.states()),
            ("DSCONT", "=?") => Ok(Some("+CGDSCONT: (1-4),(1),(0),(0)".to_owned())),
            ("EQREQ", "=?") => Ok(Some("+CGEQREQ: \"IP\",(0-4),(0-8640),(0-8640)".to_owned())),
            ("EQOS", "=?") => Ok(Some("+CGEQOS: (1-4),(0-9),(0-10000),(0-10000)".to_owned())),
            (_, rest) => match rest.strip_prefix('=') {
                None => Err(Some(4)),
                Some(arguments) => self.set(name, &split(arguments), habits),
            },
        })
    }

    fn states(&self) -> Option<String> {
        let lines: Vec<String> =
            self.contexts.iter().map(|(cid, c)| format!("+CGACT: {cid},{}", u8::from(c.active))).collect();
        (!lines.is_empty()).then(|| lines.join("\r\n"))
    }

    fn set(&mut self, name: &str, fields: &[&str], habits: &ContextHabits) -> Done {
        let first: u8 = fields.first().and_then(|field| field.parse().ok()).ok_or(Some(50))?;
        let rest = &fields[1..];
        match name {
            "EREP" => self.reports = habits.events && first > 0,
            "BRRREP" => self.rate_reports = first == 1,
            "ACT" => {
                let cid = rest.first().and_then(|cid| cid.parse().ok()).ok_or(Some(50))?;
                if !self.contexts.contains_key(&cid) {
                    return Err(Some(143));
                }
                if first == 0 {
                    self.deactivate(cid);
                } else {
                    self.activate(cid, habits)?;
                }
                let what = if first == 0 { "DEACT" } else { "ACT" };
                let said = match self.contexts[&cid].primary {
                    Some(primary) => self.event(&format!("ME {what} {primary},{cid},0")),
                    None => self.event(&format!("ME PDN {what} {cid}")),
                };
                return Ok(Some(said.trim().to_owned()).filter(|said| !said.is_empty()));
            }
            "DCONT" if rest.is_empty() => drop(self.contexts.remove(&first)),
            "DCONT" => {
                let apn = rest.get(1).ok_or(Some(50))?.trim_matches('"').to_owned();
                self.contexts.insert(first, Context { apn, ..Context::default() });
            }
            "DSCONT" if rest.is_empty() => {
                if self.contexts.get(&first).is_some_and(|context| context.active) {
                    return Err(Some(3));
                }
                self.contexts.remove(&first);
            }
            "DSCONT" => {
                let primary: u8 = rest[0].parse().map_err(|_| Some(50))?;
                if self.contexts.contains_key(&first) || !self.contexts.contains_key(&primary) {
                    return Err(Some(3));
                }
                self.contexts.insert(first, Context { primary: Some(primary), ..Context::default() });
            }
            _ => {
                let context = self.contexts.get_mut(&first).ok_or(Some(143))?;
                match name {
                    "TFT" => {
                        let number: u8 = rest.first().and_then(|n| n.parse().ok()).ok_or(Some(50))?;
                        // Filters are counted from 1 here; and a filter that filters nothing is none.
                        let parts = rest.iter().skip(2).any(|part| !part.is_empty());
                        if number == 0 || number > 16 || !parts {
                            return Err(Some(142));
                        }
                        context.filter = Some(rest.join(","));
                    }
                    "EQREQ" => context.stored = Some(Profile::umts(rest).ok_or(Some(50))?),
                    "EQMIN" if rest.is_empty() => context.minimum = None,
                    "EQMIN" => context.minimum = Some(Profile::umts(rest).ok_or(Some(50))?),
                    "EQOS" => {
                        let profile = Profile::eps(rest).ok_or(Some(50))?;
                        if matches!(profile.class, 10 | 65 | 66 | 67 | 69 | 70) {
                            return Err(Some(181));
                        }
                        context.stored = Some(profile);
                    }
                    "CMOD" => {
                        if !context.active {
                            return Err(Some(3));
                        }
                        self.activate(first, habits)?;
                    }
                    "EQNEG" => {
                        return Ok(context.given.as_ref().filter(|_| context.active).map(|given| {
                            let Profile { class, maximum, guaranteed, rest } = given;
                            let mut rest: Vec<String> = rest.iter().take(7).cloned().collect();
                            let as_subscribed = ["2", "0", "\"0E0\"", "\"0E0\"", "3", "0", "0"];
                            rest.extend(
                                as_subscribed.iter().skip(rest.len()).map(|field| (*field).to_owned()),
                            );
                            format!(
                                "+CGEQNEG: {first},{class},{},{},{},{},{}",
                                maximum.0,
                                maximum.1,
                                guaranteed.0,
                                guaranteed.1,
                                rest.join(",")
                            )
                        }));
                    }
                    "EQOSRDP" => {
                        return Ok(context.given.as_ref().filter(|_| context.active).map(|given| {
                            let Profile { class, maximum, guaranteed, .. } = given;
                            let (most_up, most_down) = habits.most;
                            format!(
                                "+CGEQOSRDP: {first},{class},{},{},{},{},{most_down},{most_up}",
                                guaranteed.1, guaranteed.0, maximum.1, maximum.0
                            )
                        }));
                    }
                    _ => return Err(Some(4)),
                }
            }
        }
        Ok(None)
    }

    fn deactivate(&mut self, cid: u8) {
        for (number, context) in &mut self.contexts {
            if *number == cid || context.primary == Some(cid) {
                (context.active, context.given) = (false, None);
            }
        }
    }

    /// What the network gives; also to one that is active, when its profile was changed.
    fn activate(&mut self, cid: u8, habits: &ContextHabits) -> Result<(), Option<u16>> {
        if !self.attached {
            return Err(Some(53));
        }
        let context = &self.contexts[&cid];
        let others = || self.contexts.iter().filter(|(number, other)| **number != cid && other.active);
        match context.primary {
            None if context.apn != habits.apn => return Err(Some(127)),
            None => {}
            Some(primary) if !self.contexts.get(&primary).is_some_and(|p| p.active) => return Err(Some(3)),
            // Only one of a group may have no filter, and that is the primary one.
            Some(_) if context.filter.is_none() => return Err(Some(146)),
            Some(_) => {}
        }
        if others().count() >= habits.contexts {
            return Err(Some(178));
        }
        let subscribed = || Profile {
            class: if habits.umts { 4 } else { 0 },
            maximum: (0, 0),
            guaranteed: (0, 0),
            rest: vec![],
        };
        let asked = context.stored.clone().unwrap_or_else(subscribed);
        let guaranteed_class = |profile: &Profile| {
            if habits.umts { profile.class <= 1 } else { matches!(profile.class, 1..=4 | 71..=76 | 82..=85) }
        };
        let live = guaranteed_class(&asked);
        if live && context.primary.is_none() {
            // TS 24.008: the device shall not ask so; the cause for it has no number.
            return Err(if habits.umts { None } else { Some(137) });
        }
        let capped = |asked: u32, most: u32| if asked == 0 { most } else { asked.min(most) };
        let mut given = asked.clone();
        let best_effort = if habits.umts { 3 } else { 9 };
        if given.class == subscribed().class {
            given.class = best_effort;
        }
        given.maximum = (capped(asked.maximum.0, habits.most.0), capped(asked.maximum.1, habits.most.1));
        given.guaranteed = (0, 0);
        if live {
            let taken = others()
                .filter_map(|(_, other)| other.given.as_ref())
                .fold((0, 0), |sum, profile| (sum.0 + profile.guaranteed.0, sum.1 + profile.guaranteed.1));
            let left = (habits.guarantees.0 - taken.0, habits.guarantees.1 - taken.1);
            given.guaranteed = (asked.guaranteed.0.min(left.0), asked.guaranteed.1.min(left.1));
            if (asked.guaranteed.0 > 0 && left.0 == 0) || (asked.guaranteed.1 > 0 && left.1 == 0) {
                return Err(if habits.umts { None } else { Some(137) });
            }
        }
        if let Some(least) = &context.minimum {
            let enough = given.maximum.0 >= least.maximum.0
                && given.maximum.1 >= least.maximum.1
                && given.guaranteed.0 >= least.guaranteed.0
                && given.guaranteed.1 >= least.guaranteed.1;
            if !enough {
                return Err(None);
            }
        }
        let context = self.contexts.get_mut(&cid).expect("it is there");
        (context.active, context.given) = (true, Some(given));
        Ok(())
    }
}

/// By the commas outside quotes.
fn split(arguments: &str) -> Vec<&str> {
    let mut quoted = false;
    arguments
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .map(str::trim)
        .collect()
}
