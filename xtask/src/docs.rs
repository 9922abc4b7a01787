//! Generated files, and the links between documents.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run::{cargo, check, command, output, root};

/// Tests that compare a generated file with what the code says, and write it when told to.
const GENERATORS: &[(&str, &str)] =
    &[("vedette-wire", ""), ("vedette-api", "reference"), ("vedette", "generated")];

/// `cargo xtask gen`
pub fn generate() -> Result<()> {
    for (package, name) in GENERATORS {
        check(cargo(&["test", "--quiet", "--package", package, name]).env("VEDETTE_UPDATE", "1"))?;
    }
    Ok(())
}

/// Fails when a relative link in a document leads nowhere.
pub fn check_links() -> Result<()> {
    let files =
        output(&mut command("git", &["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]))?;
    let mut broken = Vec::new();
    for file in files.lines().filter(|f| root().join(f).is_file()) {
        let text = std::fs::read_to_string(root().join(file))?;
        let folder = root().join(file).parent().map(Path::to_owned).unwrap_or_default();
        for link in links(&text) {
            if !resolve(&folder, link).exists() {
                broken.push(format!("{file}: {link}"));
            }
        }
    }
    if !broken.is_empty() {
        bail!("links that lead nowhere:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

fn links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    text.lines()
        .filter(|line| {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            }
            !in_code
        })
        .flat_map(|line| {
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        })
        .filter(|link| {
            !link.is_empty()
                && !link.contains("://")
                && !link.starts_with(['#', '/'])
                && !link.starts_with("mailto:")
        })
        .collect()
}

fn resolve(folder: &Path, link: &str) -> PathBuf {
    folder.join(link.split('#').next().unwrap_or(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_relative_links_outside_code() {
        let text =
            "[a](docs/x.md#part) and ![b](p.png)\n```\n[c](no)\n```\n[d](https://example.org) [e](#here)";
        assert_eq!(links(text), ["docs/x.md#part", "p.png"]);
    }
}
