//! The scenes of `demo --check`: each asks the gate over its own sockets, as an app would, and holds when the answer is
//! the one that the rules say. One line per scene.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mexe_journal::{Filter, Row};
use mexe_model::{AppId, Permission, PromptId, Reason};
use mexe_policy::prompts::{Scope, State};

use super::browser::{Answer, Who, by_connect, by_forward, by_socks, socks_tunnel};
use super::world::{CHANGED_APP, World};
use super::{SampleApps, call, permit};
use crate::gate::Gate;
use crate::prompts::answer::{self, Answer as Answering};
use crate::refused::Refused;
use crate::running::{self, Started};
use crate::serve::Serving;
use crate::{apps, grants};

/// What a scene found, when it is not what it should be.
type Scene = Result<(), String>;

struct Play<'a> {
    gate: &'a Arc<Gate>,
    world: &'a World,
    apps: &'a SampleApps,
    socks: SocketAddr,
    http: SocketAddr,
    origin: SocketAddr,
}

/// Plays every scene and prints a line for each. `true` when all held.
pub(super) async fn play(serving: &Serving, world: &World, apps: &SampleApps, origin: u16) -> bool {
    let gate = &serving.gate;
    let (Some(socks), Some(http)) = (gate.listening.socks, gate.listening.http) else {
        println!("FAILED  the gate does not listen");
        return false;
    };
    let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, origin));
    let play = Play { gate, world, apps, socks, http, origin };
    // What an earlier demo in this folder granted would change what is seen.
    for app in [&apps.operator, &apps.manufacturer, &apps.third_party, &apps.unsigned] {
        if let Err(refused) = grants::revoke_all_of_app(gate, app).await {
            println!("FAILED  clearing earlier grants: {refused}");
            return false;
        }
    }
    let scenes = [
        ("packages verify into their domains", play.domains().await),
        ("a connection without credentials is refused", play.no_credentials().await),
        ("wrong credentials are refused", play.wrong_credentials().await),
        ("without a permission the user is asked, and no is no", play.no_permission().await),
        ("a yes opens the connections that wait", play.answered().await),
        ("a session permission opens SOCKS5, CONNECT and forward requests", play.session().await),
        ("a session permission ends with its run", play.session_ends().await),
        ("a single permission works once", play.single().await),
        ("a permission for another target does not help", play.other_target().await),
        ("an untrusted app is refused whatever is granted", play.untrusted().await),
        ("the gate is not reached through itself", play.own_address().await),
        ("a revoke cuts a running download", play.revoke_cuts().await),
        ("a call beside downloads on the same bearer waits for none of them", play.call().await),
        ("a changed package is refused", play.tampered().await),
        ("the journal's chain holds", play.chain().await),
    ];
    let mut held = 0;
    for (what, result) in &scenes {
        match result {
            Ok(()) => {
                held += 1;
                println!("held    {what}");
            }
            Err(found) => println!("FAILED  {what}: {found}"),
        }
    }
    println!("{held} of {} scenes held", scenes.len());
    held == scenes.len()
}

impl Play<'_> {
    async fn domains(&self) -> Scene {
        let column = |id: &AppId| self.gate.apps.get(id).map(|app| app.trust.as_str());
        let found =
            [&self.apps.operator, &self.apps.manufacturer, &self.apps.third_party, &self.apps.unsigned];
        same(
            found.map(column),
            [Some("operator"), Some("manufacturer"), Some("third-party"), Some("untrusted")],
        )
    }

    async fn no_credentials(&self) -> Scene {
        same(self.socks(None).await?, Answer::NotAuthenticated)?;
        refused(self.connect(None).await?, 407, Reason::CredentialsMissing)?;
        refused(self.forward(None).await?, 407, Reason::CredentialsMissing)
    }

    async fn wrong_credentials(&self) -> Scene {
        let who = Who { user: self.apps.operator.to_string(), password: "0".repeat(64) };
        same(self.socks(Some(&who)).await?, Answer::NotAuthenticated)?;
        refused(self.connect(Some(&who)).await?, 407, Reason::CredentialsWrong)
    }

    async fn no_permission(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.operator).await?;
        self.asked_and_denied(&who).await?;
        // He is not asked again in this run.
        same(self.socks(Some(&who)).await?, Answer::Reply(2))?;
        refused(self.forward(Some(&who)).await?, 403, Reason::PromptDenied)?;
        self.end(&run).await;
        let rows = self.journal(&self.apps.operator).await?;
        let written = rows.iter().any(|row| row.reason.as_deref() == Some(Reason::PromptDenied.code()));
        if written { Ok(()) } else { Err("the journal does not say so".to_owned()) }
    }

    async fn answered(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.operator).await?;
        let (asking, answering) = tokio::join!(
            async {
                tokio::join!(self.socks(Some(&who)), self.connect(Some(&who)), self.forward(Some(&who)))
            },
            self.answer(3, true)
        );
        answering?;
        let (socks, connect, forward) = asking;
        page(socks?)?;
        page(connect?)?;
        page(forward?)?;
        self.end(&run).await;
        Ok(())
    }

    async fn session(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.operator).await?;
        self.permit(&self.apps.operator, Permission::Session).await?;
        self.opens(&who).await?;
        self.end(&run).await;
        Ok(())
    }

    async fn session_ends(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.operator).await?;
        self.permit(&self.apps.operator, Permission::Session).await?;
        self.opens(&who).await?;
        self.end(&run).await;
        same(self.socks(Some(&who)).await?, Answer::NotAuthenticated)?;
        let (run, who) = self.begin(&self.apps.operator).await?;
        self.asked_and_denied(&who).await?;
        self.end(&run).await;
        Ok(())
    }

    async fn single(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.operator).await?;
        self.permit(&self.apps.operator, Permission::SingleAction).await?;
        page(self.connect(Some(&who)).await?)?;
        self.asked_and_denied(&who).await?;
        self.end(&run).await;
        Ok(())
    }

    async fn other_target(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.manufacturer).await?;
        permit(self.gate, &self.apps.manufacturer, "127.0.0.1:9", Permission::Session).await.map_err(text)?;
        self.asked_and_denied(&who).await?;
        self.end(&run).await;
        Ok(())
    }

    async fn untrusted(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.unsigned).await?;
        let granted =
            permit(self.gate, &self.apps.unsigned, &self.origin.to_string(), Permission::Session).await;
        same(granted.map_err(|refused| refused.reason), Err(Reason::UntrustedApp))?;
        same(self.socks(Some(&who)).await?, Answer::Reply(2))?;
        refused(self.connect(Some(&who)).await?, 403, Reason::UntrustedApp)?;
        self.end(&run).await;
        Ok(())
    }

    async fn own_address(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.third_party).await?;
        permit(self.gate, &self.apps.third_party, "127.0.0.0/8", Permission::Session).await.map_err(text)?;
        page(self.connect(Some(&who)).await?)?;
        let (http, me) = (self.http, who.clone());
        let answer = blocking(move || by_connect(http, Some(&me), http)).await?;
        refused(answer, 403, Reason::OwnAddress)?;
        self.end(&run).await;
        Ok(())
    }

    async fn revoke_cuts(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.third_party).await?;
        let grant = self.permit(&self.apps.third_party, Permission::Session).await?;
        let (socks, origin) = (self.socks, self.origin);
        let mut tunnel = match blocking(move || socks_tunnel(socks, Some(&who), origin)).await? {
            Ok(tunnel) => tunnel,
            Err(answer) => return Err(format!("{answer:?}")),
        };
        tunnel = blocking(move || {
            write!(tunnel, "GET /bytes/10000000000 HTTP/1.1\r\nHost: {origin}\r\n\r\n")?;
            tunnel.read_exact(&mut [0; 100_000])?;
            Ok(tunnel)
        })
        .await?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut chunk = [0; 64 * 1024];
            while matches!(tunnel.read(&mut chunk), Ok(read) if read > 0) {}
            Instant::now()
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let revoked = Instant::now();
        grants::revoke(self.gate, grant).await.map_err(text)?;
        let ended = tokio::time::timeout(Duration::from_secs(4), reading).await;
        self.end(&run).await;
        match ended {
            Ok(Ok(at)) if at.saturating_duration_since(revoked) < Duration::from_secs(1) => Ok(()),
            Ok(_) => Err("it went on for more than a second".to_owned()),
            Err(_) => Err("it went on".to_owned()),
        }
    }

    async fn call(&self) -> Scene {
        let (run, who) = self.begin(&self.apps.third_party).await?;
        self.permit(&self.apps.third_party, Permission::Session).await?;
        call::begin(self.gate, &self.apps.third_party, run.run).await.map_err(text)?;
        let (socks, origin) = (self.socks, self.origin);
        let found = blocking(move || call::beside_downloads(socks, &who, origin)).await;
        self.end(&run).await;
        let call::Delays { alone, beside } = found?;
        // A queue of its own bulk before it would be a tenth of a second and more.
        match beside < alone + Duration::from_millis(20) {
            true => Ok(()),
            false => Err(format!("{beside:?} there and back beside downloads, {alone:?} alone")),
        }
    }

    async fn tampered(&self) -> Scene {
        let mut package = self.world.package(CHANGED_APP).map_err(text)?;
        let mut incoming = apps::incoming_file(self.gate).map_err(text)?;
        std::io::copy(&mut package, &mut incoming).map_err(text)?;
        let installed = apps::install(
            self.gate,
            apps::Offered { file_name: Some(CHANGED_APP.to_owned()), ..apps::Offered::package(incoming) },
        )
        .await;
        same(installed.map(|app| app.id.clone()).map_err(|r: Refused| r.reason), Err(Reason::EntryChanged))
    }

    async fn chain(&self) -> Scene {
        let state_dir = self.world.state_dir();
        let verified = tokio::task::spawn_blocking(move || mexe_journal::verify(&state_dir));
        match verified.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(broken)) => Err(broken.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A connection waits, the user says no, and it is refused. Afterwards he is asked as if he had never said so.
    async fn asked_and_denied(&self, who: &Who) -> Scene {
        let (connected, answering) = tokio::join!(self.connect(Some(who)), self.answer(1, false));
        answering?;
        refused(connected?, 403, Reason::PromptDenied)
    }

    /// The user's answer to the one question for which so many connections wait.
    async fn answer(&self, held: u32, allow: bool) -> Scene {
        let prompt = self.question(held).await?;
        let answer = Answering { allow, permission: None, duration: None, scope: Scope::Target };
        answer::answer(self.gate, prompt, answer).await.map_err(text).map(drop)
    }

    async fn question(&self, held: u32) -> Result<PromptId, String> {
        for _ in 0..200 {
            let listed = self.gate.prompts.lock().list();
            let open: Vec<_> = listed.iter().filter(|prompt| prompt.state == State::Open).collect();
            if let [prompt] = open.as_slice()
                && prompt.held == held
            {
                return Ok(prompt.id);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err("the user is not asked".to_owned())
    }

    /// All three doors open.
    async fn opens(&self, who: &Who) -> Scene {
        page(self.socks(Some(who)).await?)?;
        page(self.connect(Some(who)).await?)?;
        page(self.forward(Some(who)).await?)
    }

    async fn begin(&self, app: &AppId) -> Result<(Started, Who), String> {
        let started = running::begin_by_token(self.gate, app, None).await.map_err(text)?;
        let who = Who { user: app.to_string(), password: started.token().to_owned() };
        Ok((started, who))
    }

    async fn end(&self, started: &Started) {
        running::end(self.gate, started.run, Reason::RunEnded).await;
        let denials = self.gate.prompts.lock().denials(crate::clock::now());
        for denial in denials {
            // Gone already, if it was for the run.
            let _ = answer::rearm(self.gate, denial.id).await;
        }
    }

    async fn permit(&self, app: &AppId, permission: Permission) -> Result<mexe_model::GrantId, String> {
        permit(self.gate, app, &self.origin.to_string(), permission).await.map_err(text)
    }

    async fn journal(&self, app: &AppId) -> Result<Vec<Row>, String> {
        let (journal, filter) =
            (self.gate.journal.clone(), Filter { app: Some(app.clone()), ..Filter::default() });
        match tokio::task::spawn_blocking(move || journal.query(&filter)).await {
            Ok(rows) => rows.map_err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn socks(&self, who: Option<&Who>) -> Result<Answer, String> {
        let (proxy, who, origin) = (self.socks, who.cloned(), self.origin);
        blocking(move || by_socks(proxy, who.as_ref(), origin)).await
    }

    async fn connect(&self, who: Option<&Who>) -> Result<Answer, String> {
        let (proxy, who, origin) = (self.http, who.cloned(), self.origin);
        blocking(move || by_connect(proxy, who.as_ref(), origin)).await
    }

    async fn forward(&self, who: Option<&Who>) -> Result<Answer, String> {
        let (proxy, who, origin) = (self.http, who.cloned(), self.origin);
        blocking(move || by_forward(proxy, who.as_ref(), origin)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(text),
        Err(error) => Err(error.to_string()),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Scene {
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

fn page(answer: Answer) -> Scene {
    match answer {
        Answer::Page(text) if text.starts_with("hello from the origin") => Ok(()),
        other => Err(format!("{other:?} instead of the page")),
    }
}

/// The status, and the reason in header and body.
fn refused(answer: Answer, status: u16, reason: Reason) -> Scene {
    let expected = [format!("details=\"{reason}\""), format!("\"reason\":\"{reason}\"")];
    match answer {
        Answer::Refused(found, text)
            if found == status && expected.iter().all(|part| text.contains(part)) =>
        {
            Ok(())
        }
        other => Err(format!("{other:?} instead of {status} {reason}")),
    }
}
