//! The client against a small server on a real socket: answers, refusals, uploads, upgrades, and no server at all.

use std::convert::Infallible;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use http_body_util::Full;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// Answers every request with what it was asked; `/refused` with a problem, `/broken` with no JSON.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.to_string();
    if let Some(protocol) = head.headers.get(UPGRADE).cloned() {
        let what = head.headers.get(frame::RUN_HEADER).cloned().unwrap();
        let upgrade = head.extensions.remove::<hyper::upgrade::OnUpgrade>().unwrap();
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut said = [0; 4];
            io.read_exact(&mut said).await.unwrap();
            io.write_all(what.as_bytes()).await.unwrap();
            io.write_all(&said).await.unwrap();
        });
        let answer = Response::builder().status(101).header(UPGRADE, protocol).header(CONNECTION, "upgrade");
        return Ok(answer.body(Full::default()).unwrap());
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let problem =
        json!({"title": "t", "status": 403, "detail": "no such luck", "reason": "permission-missing"});
    let (status, answer) = match path.as_str() {
        "/refused" => (403, problem.to_string()),
        "/refused-strangely" => (500, "<html>".to_owned()),
        "/broken" => (200, "<html>".to_owned()),
        "/nothing" => (204, String::new()),
        _ => {
            let asked = json!({
                "method": head.method.as_str(), "path": path, "length": body.len(),
                "sum": body.iter().map(|b| u64::from(*b)).sum::<u64>(),
                "type": head.headers.get(CONTENT_TYPE).map(|v| v.to_str().unwrap()),
                "declared": head.headers.get(CONTENT_LENGTH).map(|v| v.to_str().unwrap()),
            });
            (200, asked.to_string())
        }
    };
    Ok(Response::builder().status(status).body(Full::from(answer)).unwrap())
}

async fn serve() -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = server::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo));
            tokio::spawn(connection.with_upgrades());
        }
    });
    let client = Client::connect(dir.path()).await.unwrap();
    (dir, client)
}

#[tokio::test]
async fn several_requests_go_over_one_connection() {
    let (_dir, mut client) = serve().await;
    let got = client.get(&ApiPath::new("/v1/apps").segment("a/b")).await.unwrap();
    assert_eq!(
        (&got["method"], &got["path"], &got["length"]),
        (&json!("GET"), &json!("/v1/apps/a%2Fb"), &json!(0))
    );
    let posted = client.post(&ApiPath::new("/v1/grants"), &json!({"a": 1})).await.unwrap();
    assert_eq!((&posted["type"], &posted["declared"]), (&json!("application/json"), &json!("7")));
    assert_eq!(client.delete(&ApiPath::new("/x")).await.unwrap()["method"], "DELETE");
    assert_eq!(client.delete(&ApiPath::new("/nothing")).await.unwrap(), Value::Null);
    assert_eq!(client.peer().unwrap().uid, rustix::process::getuid().as_raw());
}

#[tokio::test]
async fn a_refusal_carries_the_gates_reason() {
    let (_dir, mut client) = serve().await;
    let Err(ClientError::Refused(refused)) = client.get(&ApiPath::new("/refused")).await else {
        panic!("not refused")
    };
    assert_eq!((refused.status, refused.reason), (403, Some(Reason::PermissionMissing)));
    assert_eq!(refused.to_string(), "permission-missing: no such luck; give one with `mexegate grant`");
    let Err(ClientError::Refused(refused)) = client.get(&ApiPath::new("/refused-strangely")).await else {
        panic!("not refused")
    };
    assert_eq!((refused.status, refused.reason), (500, None));
    assert_eq!(refused.to_string(), "status 500: Internal Server Error");
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_a_fault() {
    let (_dir, mut client) = serve().await;
    let answer = client.get(&ApiPath::new("/broken")).await;
    assert!(matches!(answer, Err(ClientError::Broken { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_package_is_streamed_whole() {
    let (_dir, mut client) = serve().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..300_001_u32).map(|n| n.to_le_bytes()[0]).collect();
    file.write_all(&bytes).unwrap();
    let opened = tokio::fs::File::open(file.path()).await.unwrap();
    let got = client.upload(&ApiPath::new("/v1/apps").query("file", "a b"), opened, 300_001).await.unwrap();
    assert_eq!((&got["length"], &got["declared"]), (&json!(300_001), &json!("300001")));
    assert_eq!(got["type"], "application/java-archive");
    assert_eq!(got["path"], "/v1/apps?file=a%20b");
    assert_eq!(got["sum"], bytes.iter().map(|b| u64::from(*b)).sum::<u64>());
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let refusal =
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 30\r\n\r\n{\"reason\":\"package-too-large\"}";
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0; 1000];
            stream.read_exact(&mut some).await.unwrap();
            stream.write_all(refusal.as_bytes()).await.unwrap();
            // Closed with most of the package unread.
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8 << 20).unwrap();
    for _ in 0..50 {
        let mut client = Client::connect(dir.path()).await.unwrap();
        let opened = tokio::fs::File::open(file.path()).await.unwrap();
        let Err(ClientError::Refused(refused)) =
            client.upload(&ApiPath::new("/v1/apps"), opened, 8 << 20).await
        else {
            panic!("not heard")
        };
        assert_eq!(refused.reason, Some(Reason::PackageTooLarge));
    }
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_is_a_fault() {
    let (_dir, mut client) = serve().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = tokio::fs::File::open(file.path()).await.unwrap();
    let sent = client.upload(&ApiPath::new("/v1/apps"), opened, 10).await;
    let Err(ClientError::Broken { why, .. }) = sent else { panic!("{sent:?}") };
    assert_eq!(why, "the file became shorter while it was read");
}

#[tokio::test]
async fn an_upgrade_hands_the_connection_over() {
    let (_dir, client) = serve().await;
    let header = (frame::RUN_HEADER, "eyJ4Ijoxf".to_owned());
    let mut io = client.upgrade(&ApiPath::new("/v1/apps"), frame::PROTOCOL, header).await.unwrap();
    io.write_all(b"ping").await.unwrap();
    let mut said = String::new();
    io.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "eyJ4Ijoxfping");
}

#[tokio::test]
async fn nobody_there_and_no_permission_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Client::connect(dir.path()).await;
    assert!(matches!(missing, Err(ClientError::NotRunning { .. })), "{missing:?}");
    let socket = dir.path().join(SOCKET);
    drop(UnixListener::bind(&socket).unwrap());
    let dead = Client::connect(dir.path()).await;
    assert!(matches!(dead, Err(ClientError::NotRunning { .. })), "{dead:?}");
    if !rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
        let closed = Client::connect(dir.path()).await;
        assert!(matches!(closed, Err(ClientError::NotAllowed { .. })), "{closed:?}");
    }
}
