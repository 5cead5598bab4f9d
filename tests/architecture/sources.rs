//! What the text of the source files shows: the introduction that every module starts with, its length, and names that
//! one module alone may write. Walks the tree, leaving build output and hidden folders out.

use std::path::Path;

/// The longest a module may be, lines.
const LONGEST: usize = 500;

/// One source file.
pub struct Source {
    /// Relative to the root of the tree, `/` between the parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Every `.rs` file of the tree.
pub fn read(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(Source {
                    path: path.strip_prefix(root).unwrap().to_string_lossy().into_owned(),
                    text,
                });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Files that do not begin with `//!` text. A test target may have its `#![allow(...)]` first.
pub fn every_module_is_introduced(files: &[Source]) -> Vec<String> {
    let introduced = |text: &str| {
        let rest = match text.strip_prefix("#![") {
            Some(attribute) => attribute.split_once(")]\n").map_or("", |(_, rest)| rest).trim_start(),
            None => text,
        };
        rest.starts_with("//! ") && rest.lines().next().is_some_and(|line| line.len() > "//! x".len())
    };
    let late = files.iter().filter(|file| !introduced(&file.text));
    late.map(|file| format!("{} does not start with `//!` saying what it is for", file.path)).collect()
}

/// Files over the limit.
pub fn no_module_is_too_long(files: &[Source]) -> Vec<String> {
    let lengths = files.iter().map(|file| (file, file.text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > LONGEST);
    long.map(|(file, lines)| format!("{} has {lines} lines: split it", file.path)).collect()
}

/// Files that name `webpki` or `rcgen` and do not own them. Comments count too: the name leaks knowledge. The
/// architecture test itself has to write them.
pub fn only_the_owner_names(files: &[Source]) -> Vec<String> {
    const OWNERS: &[(&str, &[&str])] =
        &[("webpki::", &["certs/src/chain.rs", "certs/src/chain/"]), ("rcgen::", &["certs/forge/"])];
    let mut breaches = Vec::new();
    for (name, owners) in OWNERS {
        for file in files.iter().filter(|file| file.text.contains(name)) {
            let own = owners.iter().any(|owner| file.path.starts_with(owner));
            if !own && !file.path.starts_with("tests/architecture") {
                breaches.push(format!("{} names `{name}`, which only {} may", file.path, owners[0]));
            }
        }
    }
    breaches
}
