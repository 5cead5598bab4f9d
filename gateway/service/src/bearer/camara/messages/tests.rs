//! What makes sense of the API's answers, and what does not; and how questions are written.

use super::*;

const ID: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";

fn flow() -> Flow {
    Flow { remote: "198.51.100.7".parse().unwrap(), port: Some(443) }
}

fn answered(change: impl FnOnce(&mut Value)) -> Result<Info, &'static str> {
    let mut value = json!({
        "sessionId": ID, "qosProfile": "QOS_L", "duration": 3600, "qosStatus": "AVAILABLE",
        "applicationServer": { "ipv4Address": "198.51.100.0/24" },
    });
    change(&mut value);
    session(value.to_string().as_bytes(), flow(), "QOS_L", ApiId::read(ID).as_ref())
}

#[test]
fn a_session_has_to_make_sense() {
    let info = answered(|_| {}).unwrap();
    assert_eq!((info.status, info.duration), (Status::Available, Duration::from_secs(3600)));
    let ended = answered(|value| {
        value["qosStatus"] = "UNAVAILABLE".into();
        value["statusInfo"] = "NETWORK_TERMINATED".into();
    });
    assert_eq!(ended.unwrap().status, Status::Unavailable(Some(End::NetworkTerminated)));
    for (key, wrong, says) in [
        ("sessionId", json!("3fa85f64-5717-4562-b3fc-2c963f66afa7"), "it is another session"),
        ("sessionId", json!("../../other"), "its number is no UUID"),
        ("qosProfile", json!("QOS_M"), "it has another profile"),
        ("qosStatus", json!("MAYBE"), "it is no session"),
        ("duration", json!(0), "its duration cannot be"),
        ("duration", json!(-5), "its duration cannot be"),
        ("duration", json!(2_147_483_648_u64), "its duration cannot be"),
        ("duration", json!("3600"), "it is no session"),
        ("applicationServer", json!({ "ipv4Address": "203.0.113.7" }), "it is for another server"),
        ("applicationServer", json!({ "ipv4Address": "198.51.100.0/99" }), "it is for another server"),
        ("applicationServer", json!({}), "it is for another server"),
    ] {
        assert_eq!(answered(|value| value[key] = wrong.clone()), Err(says), "{key} {wrong}");
    }
    assert_eq!(session(b"[]", flow(), "QOS_L", None), Err("it is no session"));
}

#[test]
fn an_address_is_covered_by_itself_and_by_what_it_lies_in() {
    let is = |server: &str, address: &str| covers(server, address.parse().unwrap());
    assert!(is("192.0.2.1", "192.0.2.1") && is("0.0.0.0/0", "192.0.2.1") && is("192.0.2.1/32", "192.0.2.1"));
    assert!(is("2001:db8::/64", "2001:db8::7") && is("2001:db8::7/128", "2001:db8::7"));
    assert!(!is("192.0.2.0/25", "192.0.2.129") && !is("2001:db8::/64", "2001:db8:0:1::7"));
    assert!(!is("::/0", "192.0.2.1") && !is("192.0.2.1/", "192.0.2.1") && !is("x/8", "10.0.0.1"));
}

#[test]
fn a_question_names_the_device_the_way_it_is_known() {
    let none = DeviceIdentity::default();
    assert_eq!(about(&none), json!({}));
    let known = DeviceIdentity {
        phone_number: Some("+4930123456".into()),
        ipv4: Some(("203.0.113.1".parse().unwrap(), None, Some(59_765))),
        ipv6: Some("2001:db8::1".parse().unwrap()),
    };
    let device = json!({
        "phoneNumber": "+4930123456", "ipv6Address": "2001:db8::1",
        "ipv4Address": { "publicAddress": "203.0.113.1", "publicPort": 59_765 },
    });
    assert_eq!(about(&known), json!({ "device": device }));
    let told = Told { url: "https://me.example/events", token: "t", until: "2030-01-01T00:00:00Z".into() };
    let asked = create(&known, flow(), "QOS_L", 60, Some(&told));
    assert_eq!(asked["device"], device);
    assert_eq!(asked["applicationServer"], json!({ "ipv4Address": "198.51.100.7" }));
    assert_eq!(asked["applicationServerPorts"], json!({ "ports": [443] }));
    assert_eq!(asked["sinkCredential"]["credentialType"], "ACCESSTOKEN");
    let plain = create(&none, Flow { remote: "2001:db8::9".parse().unwrap(), port: None }, "QOS_L", 60, None);
    let expected = json!({ "applicationServer": { "ipv6Address": "2001:db8::9" }, "qosProfile": "QOS_L", "duration": 60 });
    assert_eq!(plain, expected);
}

#[test]
fn of_a_list_only_what_is_ours_is_taken() {
    let list = json!([
        { "sessionId": ID, "applicationServer": { "ipv4Address": "198.51.100.7" },
          "applicationServerPorts": { "ports": [443] } },
        { "sessionId": ID, "applicationServer": { "ipv4Address": "198.51.100.7" } },
        { "sessionId": ID, "applicationServer": { "ipv4Address": "198.51.100.0/24" },
          "applicationServerPorts": { "ports": [443] } },
        { "sessionId": "x", "applicationServer": { "ipv4Address": "198.51.100.7" },
          "applicationServerPorts": { "ports": [443] } },
        5,
    ]);
    assert_eq!(sessions_for(list.to_string().as_bytes(), flow()), [ApiId::read(ID).unwrap()]);
    assert!(sessions_for(b"{}", flow()).is_empty());
}

#[test]
fn profiles_that_cannot_be_read_keep_only_themselves_out() {
    let list = json!([{ "name": "voice", "status": "ACTIVE" }, { "name": "x" }, 7,
        { "name": "voice", "status": "INACTIVE" }]);
    let read = profiles(list.to_string().as_bytes()).unwrap();
    assert_eq!((read.len(), read[0].is_active), (1, true));
    assert!(profiles(b"{}").is_err());
}

#[test]
fn codes_of_errors_are_codes_or_nothing() {
    let code = |text: &str| error_code(json!({ "status": 409, "code": text }).to_string().as_bytes());
    assert_eq!(code("QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE").unwrap().len(), 44);
    assert_eq!((code("Bearer abc"), code(""), error_code(b"<html>")), (None, None, None));
}

#[test]
fn events_are_of_this_api_or_refused() {
    let told = |change: fn(&mut Value)| {
        let mut value = json!({
            "id": "1", "source": "x", "specversion": "1.0", "type": STATUS_CHANGED, "time": "x",
            "data": { "sessionId": ID, "qosStatus": "UNAVAILABLE", "statusInfo": "DURATION_EXPIRED" },
        });
        change(&mut value);
        event(value.to_string().as_bytes())
    };
    assert_eq!(told(|_| {}), Ok((ApiId::read(ID).unwrap(), Some(End::DurationExpired))));
    assert_eq!(told(|v| v["data"]["qosStatus"] = "AVAILABLE".into()).unwrap().1, None);
    assert!(told(|v| v["type"] = "other".into()).is_err());
    assert!(told(|v| v["data"]["qosStatus"] = "REQUESTED".into()).is_err());
    assert!(told(|v| v["data"]["sessionId"] = "1".into()).is_err());
    assert!(event(b"{}").is_err());
}
