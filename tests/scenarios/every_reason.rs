//! Every reason has a scenario that provokes it. The table below says which; this test reads the sources of the
//! scenarios, so that a reason without one, a test that was renamed and a test that no longer asserts the code are found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mexe_model::Reason;

/// Reason, file without its ending, test.
const PROVOKED: &[(Reason, &str, &str)] = &[
    (
        Reason::QosDisplaced,
        "streams",
        "a_more_important_stream_displaces_others_who_are_told_and_have_their_room_back_after_it",
    ),
    (Reason::BearerLost, "network", "flows_are_cut_when_their_bearer_goes_and_streams_come_back_with_it"),
    (
        Reason::QosNotGranted,
        "network",
        "whatever_the_network_refuses_leaves_a_stream_best_effort_and_says_why",
    ),
    (
        Reason::QosNotAdmitted,
        "streams",
        "a_more_important_stream_displaces_others_who_are_told_and_have_their_room_back_after_it",
    ),
    (Reason::CallNotActive, "calls", "tones_go_only_into_the_own_call_and_only_when_it_is_the_open_one"),
    (Reason::EmergencyNumber, "calls", "nothing_but_a_number_reaches_the_port"),
    (Reason::LineBusy, "calls", "one_call_at_a_time_and_none_beside_the_users"),
    (Reason::NoVoiceBearer, "calls", "a_modem_without_voice_and_a_dial_that_is_refused_have_their_reasons"),
    (
        Reason::AdministratorRequired,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (
        Reason::CcmExpired,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (Reason::CcmGap, "administrator", "an_administrator_decides_by_messages_which_third_party_roots_count"),
    (
        Reason::CcmMalformed,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (
        Reason::CcmNotYetValid,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (Reason::CcmOlder, "administrator", "an_administrator_decides_by_messages_which_third_party_roots_count"),
    (
        Reason::CcmReplayed,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (
        Reason::CcmSignatureWrong,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (
        Reason::CcmWrongSigner,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (
        Reason::CcmWrongTarget,
        "administrator",
        "an_administrator_decides_by_messages_which_third_party_roots_count",
    ),
    (Reason::CcmStale, "administrator", "an_overdue_message_keeps_new_third_party_runs_from_starting"),
    (
        Reason::CertificateRevoked,
        "trust",
        "a_revoked_certificate_ends_its_apps_runs_and_refuses_its_packages",
    ),
    (
        Reason::ClockSuspect,
        "formats",
        "a_clock_that_was_set_back_judges_nothing_and_ends_what_was_given_for_a_time",
    ),
    (Reason::DescriptorMalformed, "formats", "a_midp_suite_is_vouched_for_by_its_descriptor"),
    (Reason::DescriptorMismatch, "formats", "a_midp_suite_is_vouched_for_by_its_descriptor"),
    (Reason::FetchFailed, "formats", "a_package_is_fetched_judged_and_installed_when_the_user_says_so"),
    (Reason::PermissionUnknown, "formats", "a_suite_that_needs_what_nobody_knows_is_refused"),
    (
        Reason::RestrictedByCertificate,
        "trust",
        "a_certificate_limits_its_apps_to_action_groups_and_nothing_overrides_it",
    ),
    (
        Reason::RestrictionUnreadable,
        "trust",
        "a_certificate_limits_its_apps_to_action_groups_and_nothing_overrides_it",
    ),
    (Reason::RevocationStale, "trust", "an_outdated_list_refuses_unless_the_owner_lets_it_count"),
    (
        Reason::RootDisabled,
        "trust",
        "a_disabled_root_cuts_its_apps_within_50_ms_and_an_enabled_one_brings_them_back",
    ),
    (Reason::RootInTwoDomains, "trust", "the_user_adds_and_removes_third_party_roots_and_no_others"),
    (Reason::RootInvalid, "cards", "a_cards_roots_count_once_accepted_and_come_and_go_with_it"),
    (Reason::RootReadOnly, "trust", "the_user_adds_and_removes_third_party_roots_and_no_others"),
    (Reason::RootUnusable, "trust", "the_user_adds_and_removes_third_party_roots_and_no_others"),
    (
        Reason::RotationWrong,
        "formats",
        "a_new_signers_key_takes_an_app_over_only_with_the_old_ones_statement",
    ),
    (
        Reason::SignerChanged,
        "formats",
        "a_new_signers_key_takes_an_app_over_only_with_the_old_ones_statement",
    ),
    (
        Reason::TimestampWrong,
        "formats",
        "expiry_is_forgiven_with_a_timestamp_of_the_domains_authority_and_with_no_other",
    ),
    (Reason::TooCostly, "formats", "a_package_that_costs_too_much_to_judge_is_refused"),
    (Reason::ActionUnknown, "first_connection", "no_user_can_permit_what_the_table_forbids"),
    (Reason::AddressNotPublic, "inward", "no_name_leads_inward_whatever_it_resolves_to"),
    (Reason::AlgorithmWeak, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (
        Reason::AmbiguousDomain,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (
        Reason::AppRemoved,
        "first_connection",
        "a_revoked_permission_and_a_removed_app_take_their_flows_with_them",
    ),
    (Reason::AppSuspended, "measured_runs", "a_package_that_changed_in_the_store_does_not_run"),
    (Reason::AppUnknown, "command_line", "exit_codes_tell_faults_mistakes_and_refusals_apart"),
    (Reason::BodyTooLarge, "pools", "bodies_and_packages_have_their_size"),
    (
        Reason::CertificateExpired,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (
        Reason::CertificateMalformed,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (
        Reason::CertificateNotYetValid,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (Reason::CommandUnsupported, "bad_input", "malformed_socks_gets_its_reply_and_a_close"),
    (
        Reason::ContainerMalformed,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (Reason::CredentialsMissing, "first_connection", "without_credentials_nothing_is_reached"),
    (Reason::CredentialsWrong, "first_connection", "wrong_credentials_are_no_credentials"),
    (Reason::DuplicateEntry, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (Reason::EntryChanged, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (Reason::EntryMissing, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (Reason::EntryUnsigned, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (Reason::ForbiddenToDomain, "first_connection", "no_user_can_permit_what_the_table_forbids"),
    (Reason::GateStopping, "lifecycle", "a_stop_lets_open_flows_finish_and_nobody_else_in"),
    (Reason::HandshakeTimeout, "bad_input", "whoever_is_slow_or_silent_is_sent_away_in_time"),
    (Reason::IdTaken, "packages", "a_name_belongs_to_the_signer_who_came_first"),
    (Reason::IdleTimeout, "lifecycle", "an_idle_flow_ends_and_a_busy_one_does_not"),
    (Reason::JournalUnavailable, "storage", "on_a_full_disk_nothing_opens_until_there_is_space_again"),
    (Reason::KeyTooSmall, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (Reason::LimitConnections, "pools", "one_app_leaves_places_for_the_others"),
    (Reason::LimitRate, "lifecycle", "a_run_opens_no_more_connections_a_second_than_it_may"),
    (
        Reason::ManifestMalformed,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (Reason::NameNotAllowed, "inward", "what_looks_like_a_number_is_never_resolved"),
    (
        Reason::NameUnresolvable,
        "inward",
        "a_name_without_an_address_and_roads_that_end_each_have_their_reason",
    ),
    (Reason::NoRoot, "packages", "who_is_vouched_for_by_nobody_is_untrusted_and_says_why"),
    (Reason::NotFound, "command_line", "exit_codes_tell_faults_mistakes_and_refusals_apart"),
    (Reason::OlderVersion, "packages", "a_name_belongs_to_the_signer_who_came_first"),
    (Reason::OwnAddress, "inward", "the_gates_own_listeners_are_never_reached_through_it"),
    (Reason::PackageTooLarge, "pools", "bodies_and_packages_have_their_size"),
    (Reason::PeerIsARun, "own_user", "a_program_of_a_measured_run_may_nothing_at_the_control_socket"),
    (Reason::PermissionAboveMaximum, "first_connection", "no_user_can_permit_what_the_table_forbids"),
    (
        Reason::UsageThreshold,
        "accounting",
        "beyond_a_threshold_what_is_open_is_cut_and_nothing_opens_until_it_is_permitted",
    ),
    (Reason::BudgetUsedUp, "schedules", "performances_are_counted_exactly_and_over_a_power_failure"),
    (
        Reason::OutsideHours,
        "schedules",
        "at_other_hours_it_permits_nothing_and_its_last_moment_cuts_what_is_open",
    ),
    (
        Reason::PermissionExcluded,
        "added_actions",
        "blanket_permissions_that_exclude_each_other_are_not_given_together",
    ),
    (
        Reason::PermissionExpired,
        "first_connection",
        "a_permission_for_a_time_ends_by_itself_and_cuts_what_is_open",
    ),
    (
        Reason::PermissionMissing,
        "first_connection",
        "without_a_permission_the_reason_stands_in_header_body_and_journal",
    ),
    (
        Reason::PermissionRevoked,
        "first_connection",
        "a_revoked_permission_and_a_removed_app_take_their_flows_with_them",
    ),
    (Reason::PromptDenied, "prompts", "a_no_is_not_asked_again_in_the_run_and_the_third_in_a_day_in_none"),
    (Reason::PromptQueueFull, "prompts", "a_full_queue_refuses_and_one_app_cannot_fill_it"),
    (
        Reason::PromptTimeout,
        "prompts",
        "an_unanswered_question_is_a_refusal_and_can_be_answered_for_the_next_time",
    ),
    (
        Reason::QosNotPermitted,
        "quality",
        "a_class_above_background_is_given_with_the_permission_and_marked_in_every_packet",
    ),
    (Reason::RequestMalformed, "smuggling", "what_two_readers_could_read_in_two_ways_is_refused"),
    (Reason::RoleMissing, "own_user", "over_http_each_role_gets_its_own_routes_and_no_other"),
    (Reason::RunEnded, "first_connection", "a_session_permission_works_and_ends_with_its_run"),
    (
        Reason::SignatureMalformed,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
    (Reason::SignatureWrong, "packages", "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate"),
    (Reason::TargetOutOfScope, "first_connection", "a_permission_covers_its_target_and_nothing_beside_it"),
    (Reason::TokenRunRefused, "first_connection", "token_runs_can_be_switched_off"),
    (Reason::Unsigned, "packages", "who_is_vouched_for_by_nobody_is_untrusted_and_says_why"),
    (Reason::UntrustedApp, "first_connection", "an_untrusted_app_is_refused_whatever_is_granted"),
    (Reason::UpstreamMalformed, "smuggling", "a_server_that_breaks_the_protocol_is_not_passed_on"),
    (
        Reason::UpstreamRefused,
        "inward",
        "a_name_without_an_address_and_roads_that_end_each_have_their_reason",
    ),
    (Reason::UpstreamTimeout, "inward", "a_server_that_is_silent_is_given_up"),
    (
        Reason::UpstreamUnreachable,
        "inward",
        "a_name_without_an_address_and_roads_that_end_each_have_their_reason",
    ),
    (
        Reason::UsageNotCodeSigning,
        "packages",
        "a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate",
    ),
];

/// The top-level functions of a source file: whether each is a test, and its text. A function begins at the left margin
/// and ends with the first `}` there.
fn functions(source: &str) -> BTreeMap<String, (bool, String)> {
    let mut found = BTreeMap::new();
    let mut lines = source.lines().peekable();
    let mut is_test = false;
    while let Some(line) = lines.next() {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = name {
            let mut text = line.to_owned();
            for line in lines.by_ref().take_while(|line| *line != "}") {
                text.push('\n');
                text.push_str(line);
            }
            found.insert(name.to_owned(), (is_test, text));
        }
        is_test = ["#[test]", "#[tokio::test]"].contains(&line)
            || (is_test && (line.starts_with("#[") || line.starts_with("//")));
    }
    found
}

/// Why the table does not hold for these sources (file name without ending, text); empty when it does.
fn problems(table: &[(Reason, &str, &str)], sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut problems = Vec::new();
    let provoked: BTreeSet<_> = table.iter().map(|(reason, ..)| *reason).collect();
    for reason in Reason::ALL.iter().filter(|reason| !provoked.contains(reason)) {
        problems.push(format!("no scenario provokes {reason}"));
    }
    for (reason, file, test) in table {
        let Some(source) = sources.get(*file) else {
            problems.push(format!("{reason}: there is no {file}.rs"));
            continue;
        };
        let functions = functions(source);
        let Some((true, text)) = functions.get(*test) else {
            problems.push(format!("{reason}: {file}.rs has no test {test}"));
            continue;
        };
        // A test asserts what the functions that it calls return or assert.
        let called =
            functions.iter().filter(|(name, (is_test, _))| !is_test && text.contains(&format!("{name}(")));
        let code = format!("\"{reason}\"");
        if !text.contains(&code) && !called.into_iter().any(|(_, (_, text))| text.contains(&code)) {
            problems.push(format!("{reason}: {test} in {file}.rs does not say {code}"));
        }
    }
    problems
}

fn sources() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = fs::read_dir(folder).expect("the scenarios are there").flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
            (name, fs::read_to_string(&path).expect("a source file"))
        })
        .collect()
}

#[test]
fn every_reason_is_provoked_by_a_scenario() {
    let problems = problems(PROVOKED, &sources());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_scenario_is_built_and_run() {
    // A file that Cargo does not know of is a test that nobody runs.
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Value = toml::from_str(&manifest).unwrap();
    let known: BTreeSet<_> = manifest["test"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|test| test["path"].as_str().map(str::to_owned))
        .collect();
    for name in sources().keys() {
        assert!(
            known.contains(&format!("scenarios/{name}.rs")),
            "{name}.rs has no [[test]] in tests/Cargo.toml"
        );
    }
}

#[test]
fn a_table_that_does_not_hold_is_found_out() {
    let with = |source: &str| BTreeMap::from([("a".to_owned(), source.to_owned())]);
    let table = [(Reason::NoRoot, "a", "b")];
    let about = |source: &str| {
        let found = problems(&table, &with(source));
        found.into_iter().filter(|problem| problem.starts_with("no-root")).collect::<Vec<_>>()
    };
    assert_eq!(about("#[test]\nfn b() {\n    x(\"no-root\");\n}\n"), [""; 0]);
    assert_eq!(about("#[test]\nfn b() {\n    help();\n}\nfn help() {\n    x(\"no-root\");\n}\n"), [""; 0]);
    assert_eq!(
        about("#[test]\nfn b() {\n    other();\n}\n#[test]\nfn c() {\n    x(\"no-root\");\n}\n"),
        ["no-root: b in a.rs does not say \"no-root\""]
    );
    assert_eq!(about("fn b() {\n    x(\"no-root\");\n}\n"), ["no-root: a.rs has no test b"]);
    assert_eq!(about("#[test]\nfn renamed() {\n    x(\"no-root\");\n}\n"), ["no-root: a.rs has no test b"]);
    assert_eq!(
        problems(&[(Reason::NoRoot, "z", "b")], &with("")).last().unwrap(),
        "no-root: there is no z.rs"
    );
    assert_eq!(problems(&[], &with("")).len(), Reason::ALL.len());
    assert!(problems(&[], &with(""))[0].starts_with("no scenario provokes "));
}
