//! The web console as a stranger, an app and the user get it: who is let in to which page, and what stands in the heads of
//! the answers. What the pages do is tried in a browser (tests/console).

use rig::Rig;
use rig::curl::Reply;

/// Everything behind the token.
const PAGES: [&str; 11] = [
    "apps",
    "flows",
    "grants",
    "journal",
    "quality",
    "questions",
    "roots",
    "shadow",
    "throughput",
    "usage",
    "verify",
];

fn get(rig: &Rig, path: &str, fields: &[&str]) -> Reply {
    let url = format!("http://{}{path}", rig.ports().console);
    let fields = fields.iter().flat_map(|field| ["--header", *field]);
    Reply::of(std::iter::once(url.as_str()).chain(fields))
}

/// The addresses of the static files, as the shell names them.
fn assets(shell: &str) -> Vec<String> {
    let named = shell.split('"').filter(|part| part.starts_with("/static/"));
    let mut named: Vec<String> = named.map(str::to_owned).collect();
    named.sort();
    named.dedup();
    named
}

#[test]
fn no_page_is_shown_without_the_users_token() {
    let rig = Rig::start();
    let run = rig.run(&rig.app("operator"));
    let user = format!("Authorization: Bearer {}", rig.console_token());
    let app = format!("Authorization: Bearer {}", run.token);
    for page in PAGES {
        let path = format!("/console/{page}");
        let stranger = get(&rig, &path, &[]);
        assert_eq!(
            (stranger.status, stranger.reason().as_deref()),
            (401, Some("credentials-missing")),
            "{page}"
        );
        assert_eq!(get(&rig, &path, &["Authorization: Bearer 00"]).status, 401, "{page}");
        let app = get(&rig, &path, &[&app]);
        assert_eq!((app.status, app.reason().as_deref()), (403, Some("role-missing")), "{page}");
        // In a cookie or the address the token is worth nothing.
        assert_eq!(
            get(&rig, &path, &[&format!("Cookie: token={}", rig.console_token())]).status,
            401,
            "{page}"
        );
        assert_eq!(get(&rig, &format!("{path}?token={}", rig.console_token()), &[]).status, 401, "{page}");
        assert_eq!(get(&rig, &path, &[&user]).status, 200, "{page}");
    }
    // The user is let in, and told by the API what is wrong.
    for (page, wrong) in [("install", "container-malformed"), ("fetch", "request-malformed")] {
        let url = format!("http://{}/console/{page}", rig.ports().console);
        for (field, reason) in
            [(None, "credentials-missing"), (Some(&app), "role-missing"), (Some(&user), wrong)]
        {
            let field = field.iter().flat_map(|field| ["--header", field.as_str()]);
            let reply = Reply::of([url.as_str(), "--request", "POST"].into_iter().chain(field));
            assert_eq!(reply.reason().as_deref(), Some(reason), "{page}: {}", reply.text());
        }
    }
    assert_eq!(get(&rig, "/console/other", &[&user]).status, 404);
    assert_eq!(get(&rig, "/console/other", &[]).status, 401);
}

#[test]
fn every_answer_is_guarded_against_other_pages() {
    let rig = Rig::start();
    let user = format!("Authorization: Bearer {}", rig.console_token());
    let shell = get(&rig, "/", &[]);
    assert_eq!(shell.status, 200);
    let assets = assets(&shell.text());
    assert_eq!(assets.len(), 7, "{assets:?}");
    let all =
        ["/".to_owned(), "/v1/status".to_owned(), "/static/none".to_owned(), "/console/apps".to_owned()];
    for path in all.iter().chain(&assets) {
        let reply = get(&rig, path, &[&user]);
        let field = |name: &str| reply.headers.get(name).map(String::as_str).unwrap_or_default();
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
        assert_eq!(field("content-security-policy"), policy, "{path}");
        assert_eq!(field("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(field("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(field("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(field("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(field("set-cookie"), "", "{path}");
        let kept = field("cache-control") == "public, max-age=31536000, immutable";
        assert_eq!(kept, path.contains("?v="), "{path}: {}", field("cache-control"));
        assert!(kept || field("cache-control") == "no-store", "{path}");
        for foreign in ["Host: evil.example", "Origin: http://evil.example"] {
            let reply = get(&rig, path, &[&user, foreign]);
            assert_eq!(reply.status, 421, "{path} to {foreign}");
            assert!(reply.headers.contains_key("content-security-policy"), "{path} to {foreign}");
        }
    }
}

#[test]
fn the_first_page_weighs_less_than_100_kilobytes_and_is_not_sent_twice() {
    let rig = Rig::start();
    let shell = get(&rig, "/", &[]);
    let mut weight = shell.body.len();
    for path in assets(&shell.text()) {
        let reply = get(&rig, &path, &[]);
        assert_eq!(reply.status, 200, "{path}");
        weight += reply.body.len();
        let known = get(&rig, &path, &[&format!("If-None-Match: {}", reply.headers["etag"])]);
        assert_eq!((known.status, known.body.len()), (304, 0), "{path}");
    }
    assert!((60_000..100_000).contains(&weight), "{weight} bytes");
}
