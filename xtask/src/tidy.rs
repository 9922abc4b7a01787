//! `cargo xtask tidy`: what is cheap to check without running the product.

use anyhow::{Result, bail};

use crate::{
    docs, layers,
    run::{cargo, check, command, output, root},
};

type Check = fn() -> Result<()>;

/// Runs all checks and names every one that fails.
pub fn tidy() -> Result<()> {
    let checks: &[(&str, Check)] = &[
        ("formatting", || check(&mut cargo(&["fmt", "--all", "--check"]))),
        ("layers", layers::check),
        ("links", docs::check_links),
        ("words", words),
        ("lints", || {
            check(&mut cargo(&[
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]))
        }),
    ];
    let mut failed = Vec::new();
    for (name, run) in checks {
        if let Err(error) = run() {
            eprintln!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("not tidy: {}", failed.join(", "));
    }
    Ok(())
}

/// Unfinished work and paths of somebody's machine do not land.
fn words() -> Result<()> {
    let files = output(&mut command(
        "git",
        &["ls-files", "*.rs", "*.ts", "*.svelte", "*.c", "*.h", "*.md", "*.yml"],
    ))?;
    let mut found = Vec::new();
    for file in files.lines().filter(|f| *f != "xtask/src/tidy.rs") {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in ["FIXME", "XXX", "HACK", "/root/."] {
                if line.contains(word) {
                    found.push(format!("{file}:{}: {word}", number + 1));
                }
            }
        }
    }
    if !found.is_empty() {
        bail!("words that must not land:\n  {}", found.join("\n  "));
    }
    Ok(())
}
