//! Files that a pattern names: `*` and `?` in the last part of a path.

use std::path::{Path, PathBuf};

use vedette_sys::Fs;

/// The files of a pattern, sorted. A path without stars is itself, whether it is there or not,
/// so that whoever reads it can say that it is missing.
pub(super) fn expand(fs: &dyn Fs, pattern: &Path) -> Vec<PathBuf> {
    let Some(last) = pattern.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    if !last.contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let folder = match pattern.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A folder that is not there has no files.
    let entries = fs.list(folder).unwrap_or_default();
    let names = entries.iter().filter_map(|entry| entry.file_name()?.to_str());
    let mut found: Vec<PathBuf> =
        names.filter(|name| matches(last, name)).map(|name| folder.join(name)).collect();
    found.sort();
    found
}

/// Whether a name fits a pattern. Each star is tried again only after the one before it, so the
/// time is the product of the two lengths at most.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star_p, star_n)) = star {
            star = Some((star_p, star_n + 1));
            (p, n) = (star_p + 1, star_n + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?.y", "é.y", true),
            ("*", "", true),
            ("**a", "bba", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
