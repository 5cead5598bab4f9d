//! `static`: a bearer that nobody can ask for anything. It carries what the configuration says, always, and whatever is
//! asked for is granted as far as that goes: the gate itself keeps the rates.

use std::sync::Arc;

use futures_util::FutureExt;
use mexe_model::BitRate;
use mexe_qos::Attributes;

use super::{Capacity, Granted, Negotiating, NegotiationFault, NetworkControl, Report, Request, SessionId};

/// One of them.
#[derive(Debug)]
pub struct Fixed {
    report: Arc<Report>,
}

impl Fixed {
    /// It is up from now on.
    pub fn new(report: Arc<Report>) -> Self {
        report.up(Capacity::default());
        Self { report }
    }

    /// It stays as it is reported: down, as a rule.
    pub const fn as_reported(report: Arc<Report>) -> Self {
        Self { report }
    }

    fn grant(&self, request: &Request) -> Result<Attributes, NegotiationFault> {
        let status = self.report.status();
        if let Some(why) = status.down {
            return Err(NegotiationFault::BearerDown(why));
        }
        lowered(&request.wished, status.capacity, request.least)
    }
}

/// What of it fits into that capacity, by itself: what others have of it is for admission to know.
///
/// # Errors
/// [`NegotiationFault::TooLittle`].
pub fn lowered(
    wished: &Attributes,
    capacity: Capacity,
    least: Capacity,
) -> Result<Attributes, NegotiationFault> {
    let mut given = *wished;
    for (rates, most, least, direction) in [
        ((&mut given.max_bitrate_up, &mut given.guaranteed_bitrate_up), capacity.up, least.up, "up"),
        (
            (&mut given.max_bitrate_down, &mut given.guaranteed_bitrate_down),
            capacity.down,
            least.down,
            "down",
        ),
    ] {
        let Some(most) = most else { continue };
        let enough = |least: &BitRate| *least <= most;
        if !least.as_ref().is_none_or(enough) {
            return Err(NegotiationFault::TooLittle(format!("{most} {direction}")));
        }
        for rate in [rates.0, rates.1] {
            *rate = rate.map(|rate| rate.min(most.into()));
        }
    }
    Ok(given)
}

impl NetworkControl for Fixed {
    fn negotiate<'a>(&'a self, request: &'a Request) -> Negotiating<'a, Granted> {
        async {
            let attributes = self.grant(request)?;
            let session = Report::next_session();
            self.report.granted(session, request.wished, attributes);
            Ok(Granted { session, attributes })
        }
        .boxed()
    }

    fn modify<'a>(&'a self, session: SessionId, request: &'a Request) -> Negotiating<'a, Attributes> {
        async move {
            if !self.report.sessions().contains_key(&session) {
                return Err(NegotiationFault::NoSession);
            }
            let attributes = self.grant(request)?;
            self.report.granted(session, request.wished, attributes);
            Ok(attributes)
        }
        .boxed()
    }

    fn release(&self, session: SessionId) -> Negotiating<'_, ()> {
        self.report.released(session);
        async { Ok(()) }.boxed()
    }
}
