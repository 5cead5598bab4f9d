//! Who may call what (S2). One table of routes and roles; the router asks it before any handler runs, and a test walks
//! every cell. Whatever widens needs the user or the administrator; an app speaks only for itself.

use std::sync::Arc;

use axum::http::Method;
use mexe_model::Reason;

use crate::runs::Run;

/// What a caller may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An app with its own run's token.
    App,
    /// The device's user, who is also its administrator while no remote one is set.
    User,
}

/// A caller, known by the door it came in by.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A live run, named by its token.
    App(Arc<Run>),
    /// A process inside a run, at the control socket: may nothing there.
    InsideARun,
    /// Nobody that the gate knows.
    Nobody,
    /// The user, by the peer's uid or by the console's token.
    User {
        /// The process at the other end of the control socket, when it came in there.
        pid: Option<u32>,
    },
}

/// One route, and who may call it. `{}` stands for one path segment.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, as the API document writes it.
    pub path: &'static str,
    /// The roles that may call it.
    pub roles: &'static [Role],
}

const USER: &[Role] = &[Role::User];
const BOTH: &[Role] = &[Role::App, Role::User];

/// Every route of the API.
pub const ROUTES: &[Route] = &[
    Route { method: Method::GET, path: "/v1/openapi.json", roles: BOTH },
    Route { method: Method::GET, path: "/v1/status", roles: USER },
    Route { method: Method::GET, path: "/v1/apps", roles: USER },
    Route { method: Method::POST, path: "/v1/apps", roles: USER },
    Route { method: Method::POST, path: "/v1/fetches", roles: USER },
    Route { method: Method::DELETE, path: "/v1/fetches/{id}", roles: USER },
    Route { method: Method::POST, path: "/v1/fetches/{id}/install", roles: USER },
    Route { method: Method::GET, path: "/v1/apps/{id}", roles: USER },
    Route { method: Method::DELETE, path: "/v1/apps/{id}", roles: USER },
    Route { method: Method::POST, path: "/v1/apps/{id}/runs", roles: USER },
    Route { method: Method::GET, path: "/v1/runs", roles: USER },
    Route { method: Method::DELETE, path: "/v1/runs/{id}", roles: USER },
    Route { method: Method::GET, path: "/v1/flows", roles: USER },
    Route { method: Method::DELETE, path: "/v1/flows/{id}", roles: USER },
    Route { method: Method::GET, path: "/v1/grants", roles: USER },
    Route { method: Method::POST, path: "/v1/grants", roles: USER },
    Route { method: Method::DELETE, path: "/v1/grants", roles: USER },
    Route { method: Method::DELETE, path: "/v1/grants/{id}", roles: USER },
    Route { method: Method::GET, path: "/v1/schedules", roles: USER },
    Route { method: Method::POST, path: "/v1/schedules", roles: USER },
    Route { method: Method::DELETE, path: "/v1/schedules/{name}", roles: USER },
    Route { method: Method::GET, path: "/v1/shadow", roles: USER },
    Route { method: Method::PUT, path: "/v1/shadow", roles: USER },
    Route { method: Method::DELETE, path: "/v1/shadow", roles: USER },
    Route { method: Method::GET, path: "/v1/bearers", roles: USER },
    Route { method: Method::GET, path: "/v1/calls", roles: USER },
    Route { method: Method::POST, path: "/v1/calls", roles: BOTH },
    Route { method: Method::DELETE, path: "/v1/calls/{id}", roles: BOTH },
    Route { method: Method::POST, path: "/v1/calls/{id}/dtmf", roles: BOTH },
    Route { method: Method::GET, path: "/v1/streams", roles: BOTH },
    Route { method: Method::POST, path: "/v1/streams", roles: BOTH },
    Route { method: Method::PATCH, path: "/v1/streams/{id}", roles: BOTH },
    Route { method: Method::DELETE, path: "/v1/streams/{id}", roles: BOTH },
    Route { method: Method::GET, path: "/v1/prompts", roles: USER },
    Route { method: Method::DELETE, path: "/v1/prompts/{id}", roles: USER },
    Route { method: Method::POST, path: "/v1/prompts/{id}/answer", roles: USER },
    Route { method: Method::GET, path: "/v1/events", roles: USER },
    Route { method: Method::POST, path: "/v1/decisions", roles: BOTH },
    Route { method: Method::GET, path: "/v1/roots", roles: USER },
    Route { method: Method::POST, path: "/v1/roots", roles: USER },
    Route { method: Method::PATCH, path: "/v1/roots/{id}", roles: USER },
    Route { method: Method::DELETE, path: "/v1/roots/{id}", roles: USER },
    Route { method: Method::GET, path: "/v1/lists", roles: USER },
    Route { method: Method::POST, path: "/v1/lists", roles: USER },
    Route { method: Method::POST, path: "/v1/ccm", roles: USER },
    Route { method: Method::GET, path: "/v1/administrator", roles: USER },
    Route { method: Method::PUT, path: "/v1/administrator", roles: USER },
    Route { method: Method::GET, path: "/v1/limits", roles: USER },
    Route { method: Method::POST, path: "/v1/limits", roles: USER },
    Route { method: Method::DELETE, path: "/v1/limits/{app}", roles: USER },
    Route { method: Method::GET, path: "/v1/usage", roles: USER },
    Route { method: Method::GET, path: "/v1/thresholds", roles: USER },
    Route { method: Method::POST, path: "/v1/thresholds", roles: USER },
    Route { method: Method::DELETE, path: "/v1/thresholds/{id}", roles: USER },
    Route { method: Method::GET, path: "/v1/journal", roles: USER },
    Route { method: Method::DELETE, path: "/v1/journal", roles: USER },
    Route { method: Method::GET, path: "/v1/journal/checkpoint", roles: USER },
];

/// The pages of the console: what the user may see, as a page.
pub const PAGES: &[Route] = &[
    Route { method: Method::GET, path: "/console/apps", roles: USER },
    Route { method: Method::POST, path: "/console/fetch", roles: USER },
    Route { method: Method::GET, path: "/console/flows", roles: USER },
    Route { method: Method::GET, path: "/console/grants", roles: USER },
    Route { method: Method::POST, path: "/console/install", roles: USER },
    Route { method: Method::GET, path: "/console/journal", roles: USER },
    Route { method: Method::GET, path: "/console/quality", roles: USER },
    Route { method: Method::GET, path: "/console/questions", roles: USER },
    Route { method: Method::GET, path: "/console/roots", roles: USER },
    Route { method: Method::GET, path: "/console/shadow", roles: USER },
    Route { method: Method::GET, path: "/console/throughput", roles: USER },
    Route { method: Method::GET, path: "/console/usage", roles: USER },
    Route { method: Method::GET, path: "/console/verify", roles: USER },
];

/// Whether the caller may call this route.
///
/// # Errors
/// [`Reason::PeerIsARun`], [`Reason::CredentialsMissing`] for nobody, [`Reason::RoleMissing`] for the wrong role,
/// [`Reason::NotFound`] for a route that does not exist (told only to those who may call something).
pub fn admit(caller: &Caller, method: &Method, path: &str) -> Result<(), Reason> {
    let role = match caller {
        Caller::InsideARun => return Err(Reason::PeerIsARun),
        Caller::Nobody => return Err(Reason::CredentialsMissing),
        Caller::App(_) => Role::App,
        Caller::User { .. } => Role::User,
    };
    let route = ROUTES.iter().chain(PAGES).find(|route| route.method == *method && matches(route.path, path));
    match route {
        None if role == Role::User => Ok(()), // the router answers 404 or 405
        None => Err(Reason::RoleMissing),
        Some(route) if route.roles.contains(&role) => Ok(()),
        Some(_) => Err(Reason::RoleMissing),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(p), Some(s)) if p == s || (p.starts_with('{') && !s.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use mexe_model::{Instant, Trust, WallTime};
    use mexe_policy::RunBinding;

    use super::*;
    use crate::runs::{NewRun, Runs};

    fn app() -> Caller {
        let new = NewRun {
            app: "app".parse().unwrap(),
            trust: Trust::Untrusted,
            qos_profile: None,
            root: None,
            groups: mexe_model::Groups::ALL,
            legacy: false,
            binding: RunBinding::Token,
            process: None,
            rate: None,
        };
        Caller::App(Runs::new(1).begin(new, Instant::from_nanos(0), WallTime::from_secs(0)).unwrap().0)
    }

    #[test]
    fn every_cell_of_the_role_table_is_as_the_rule_says() {
        // Written out by hand, so that a change of the table is a change here too.
        let app_may = [
            (Method::GET, "/v1/openapi.json"),
            (Method::POST, "/v1/decisions"),
            (Method::POST, "/v1/calls"),
            (Method::DELETE, "/v1/calls/{id}"),
            (Method::POST, "/v1/calls/{id}/dtmf"),
            (Method::GET, "/v1/streams"),
            (Method::POST, "/v1/streams"),
            (Method::PATCH, "/v1/streams/{id}"),
            (Method::DELETE, "/v1/streams/{id}"),
        ];
        for route in ROUTES.iter().chain(PAGES) {
            let path = route.path.replace("{id}", "x").replace("{name}", "x");
            let expected = app_may.contains(&(route.method.clone(), route.path));
            assert_eq!(admit(&app(), &route.method, &path).is_ok(), expected, "{} {path}", route.method);
            assert_eq!(admit(&Caller::User { pid: None }, &route.method, &path), Ok(()));
            assert_eq!(admit(&Caller::InsideARun, &route.method, &path), Err(Reason::PeerIsARun));
            assert_eq!(admit(&Caller::Nobody, &route.method, &path), Err(Reason::CredentialsMissing));
        }
    }

    #[test]
    fn a_path_that_is_no_route_is_nothing_to_an_app() {
        for path in ["/v1/grants/", "/v1/grants/x/y", "/v1//grants", "/v1/decisions/", "/"] {
            assert_eq!(admit(&app(), &Method::POST, path), Err(Reason::RoleMissing), "{path}");
        }
    }
}
