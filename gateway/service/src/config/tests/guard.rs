//! Files that widen trust and that others could have written are refused (S4).

use super::*;

/// A configuration with roots and a table, all well guarded.
fn guarded_place() -> Place {
    let place = Place::new("[trust]\nroots = \"roots\"\n[policy]\nsecurity_table = \"table.toml\"\n");
    for folder in ["roots", "roots/operator", "roots/unrelated"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        chmod(&place.path(folder), 0o755);
    }
    for file in ["table.toml", "roots/operator/a.pem", "roots/operator/notes.txt", "roots/unrelated/b.pem"] {
        write(&place.path(file), "");
    }
    place
}

/// Gives the file to somebody who is neither root nor the gate: by changing its owner as root, else by changing who
/// the gate is.
fn give_away(place: &mut Place, below: &str) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(place.path(below), Some(54_321), None).unwrap();
    } else {
        place.options.uid += 1;
    }
}

#[test]
fn what_group_or_others_may_write_is_refused_by_name() {
    guarded_place().config();
    for (below, mode) in [
        ("mexegate.toml", 0o666),
        ("mexegate.toml", 0o664),
        ("mexegate.toml", 0o646),
        ("table.toml", 0o602),
        ("roots", 0o777),
        ("roots", 0o1777),
        ("roots/operator", 0o775),
        ("roots/operator/a.pem", 0o666),
    ] {
        let place = guarded_place();
        chmod(&place.path(below), mode);
        let expected =
            format!("`{below}` is writable by group or others (mode {mode:04o}): files that widen trust");
        assert!(place.mistake().starts_with(&expected), "{}", place.mistake());
    }
}

#[test]
fn what_somebody_else_owns_is_refused_by_name() {
    for below in ["mexegate.toml", "table.toml", "roots", "roots/operator", "roots/operator/a.pem"] {
        let mut place = guarded_place();
        give_away(&mut place, below);
        let mistake = place.mistake();
        if rustix::process::geteuid().is_root() {
            assert!(mistake.starts_with(&format!("`{below}` is owned by user id 54321: ")), "{mistake}");
        } else {
            assert!(mistake.starts_with("`mexegate.toml` is owned by user id "), "{mistake}");
        }
    }
}

#[test]
fn a_link_is_judged_by_what_it_leads_to() {
    let place = guarded_place();
    std::fs::rename(place.path("table.toml"), place.path("elsewhere.toml")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere.toml"), place.path("table.toml")).unwrap();
    place.config();
    chmod(&place.path("elsewhere.toml"), 0o666);
    assert!(place.mistake().contains("`table.toml` is writable by group or others"), "{}", place.mistake());
}

#[test]
fn files_that_are_never_loaded_do_not_matter() {
    let place = guarded_place();
    chmod(&place.path("roots/operator/notes.txt"), 0o666);
    chmod(&place.path("roots/unrelated"), 0o777);
    chmod(&place.path("roots/unrelated/b.pem"), 0o666);
    place.config();
}

#[test]
fn the_demo_does_not_ask_who_wrote_its_files() {
    let mut place = guarded_place();
    place.options.mode = Mode::Demo;
    chmod(&place.path("mexegate.toml"), 0o666);
    chmod(&place.path("roots"), 0o777);
    place.config();
}
