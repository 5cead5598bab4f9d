//! A bearer of kind camara through the gate itself: what the command line, the API, the console's page, the series and the
//! journal say of it, and that no secret is in any of them.

use std::os::unix::fs::PermissionsExt as _;

use rig::ports::Ports;
use rig::tls::Certificate;
use rig::{Control, Operator, OperatorHabits, Rig, Trick, packages, wait};
use serde_json::json;

const SECRET: &str = "s3cret";

#[test]
fn an_operators_api_is_shown_everywhere_and_its_secrets_nowhere() {
    let operator = Operator::start(OperatorHabits {
        tokens: vec!["none but its own".to_owned()],
        tricks: vec![("POST /qos-profiles", Trick::Status(403, "PERMISSION_DENIED"))],
        ..OperatorHabits::default()
    });
    let mut rig = Rig::builder().prepare();
    let secret = rig.folder().join("client-secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let roots = rig.folder().join("authorities.pem");
    packages::write(&roots, b"");
    // Events come to a listener of its own, which is none of the apps' business.
    let sink = Ports::take();
    let own = Certificate::make(rig.folder(), "sink", "IP:127.0.0.1");
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    text += &format!(
        "[[bearer]]\nname = \"mobile\"\nkind = \"camara\"\nuplink = \"10 Mbit/s\"\n\
         [bearer.camara]\nurl = \"{url}\"\ntoken_url = \"{url}/token\"\nclient_id = \"gate\"\n\
         client_secret_file = \"client-secret\"\nphone_number = \"+4930123456\"\npoll = \"1s\"\nduration = \"10m\"\n\
         roots = \"authorities.pem\"\n\
         [bearer.camara.sink]\nurl = \"https://{listen}/events\"\nlisten = \"{listen}\"\n\
         certificate = \"{certificate}\"\nkey = \"sink.key\"\n",
        url = operator.url(),
        listen = sink.socks,
        certificate = own.certificate.display(),
    );
    packages::write(&rig.config_file(), text.as_bytes());
    let config = rig.config_file();
    let checked = rig.cli(["check-config".as_ref(), "-c".as_ref(), config.as_os_str()]).ended(0).stdout;
    assert!(checked.contains("\"kind\":\"camara\"") && checked.contains("client-secret"), "{checked}");
    rig.start_again();

    let mut control = Control::of(&rig);
    let mut bearer = || control.list("/v1/bearers").remove(0);
    wait::until("why it is down", || (bearer()["why"] == "not-permitted").then_some(()));
    let down = rig.cli(["bearers"]).ended(0).stdout;
    assert!(down.contains("camara") && down.contains("403 PERMISSION_DENIED"), "{down}");
    assert_eq!(rig.metric(r#"mexegate_bearer_up{bearer="mobile"}"#), 0.0);

    operator.change(|habits| habits.tricks.clear());
    wait::until("it is up", || (bearer()["state"] == "up").then_some(()));
    let up = bearer();
    assert_eq!(
        (&up["kind"], &up["uplink"], &up["downlink"]),
        (&json!("camara"), &json!("10 Mbit/s"), &json!(null))
    );
    assert_eq!(rig.metric(r#"mexegate_bearer_up{bearer="mobile"}"#), 1.0);
    assert_eq!(operator.count("POST /token"), 1);
    let found = wait::until("the record", || rig.journal(["--action", "bearer.found"]).pop());
    assert_eq!(found["target"], "mobile");
    let token = format!("Authorization: Bearer {}", rig.console_token());
    let page = rig.curl(["-H", &token, &format!("http://{}/console/quality", rig.ports().console)]).text();
    assert!(page.contains("mobile"), "{page}");

    wait::listening(sink.socks);
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    let through = rig.curl(["-k", "-x", &rig.run(&app).http, &format!("https://{}/events", sink.socks)]);
    assert_eq!(
        (through.connect_status, through.status),
        (403, 0),
        "an app does not reach it through the gate"
    );
    let refused = rig.journal(["--reason", "own-address"]).pop().unwrap();
    assert!(refused["target"].as_str().unwrap().contains(&sink.socks.port().to_string()), "{refused}");

    // Its rates are taken up at once; what else changes waits for the next start, and the log says so.
    let other = text.replace("10 Mbit/s", "20 Mbit/s");
    packages::write(&rig.config_file(), other.as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    wait::until("the new rate", || (bearer()["uplink"] == "20 Mbit/s").then_some(()));
    let other = text.replace("duration = \"10m\"", "duration = \"20m\"");
    packages::write(&rig.config_file(), other.as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    wait::until("a word in the log", || rig.log().contains("takes effect at the next start").then_some(()));

    let tokens: Vec<String> = operator.tokens();
    assert_eq!(tokens.len(), 1);
    let told = [rig.log(), checked, down, page, up.to_string(), found.to_string()];
    for hidden in [SECRET, &tokens[0], "Z2F0ZTpzM2NyZXQ"] {
        assert!(told.iter().all(|told| !told.contains(hidden)), "{hidden} in {told:?}");
    }
    assert!(rig.stop().success());
}
