//! Running other programs, and the commands that build and start the product.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::web;

/// The root of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("BUG: xtask lies in the root").to_owned()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Starts a command in the project's root, with its arguments.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// The cargo that runs us. It is not told which package that was for: build scripts that ask for it would run again,
/// and what depends on them, whenever somebody calls cargo without us.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end and fails if it does.
pub fn check(command: &mut Command) -> Result<()> {
    let text = describe(command);
    eprintln!("$ {text}");
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs a command quietly and gives what it printed on standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let text = describe(command);
    let out = command.output().with_context(|| format!("cannot start `{text}`"))?;
    if !out.status.success() {
        bail!("`{text}` failed ({}): {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn describe(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_string_lossy())
        .collect();
    words.join(" ")
}

/// Builds the release binary and gives its place.
pub fn release_binary() -> Result<PathBuf> {
    check(&mut cargo(&["build", "--release", "--locked", "--package", "vedette"]))?;
    Ok(target().join("release/vedette"))
}

/// The program that is asked: the release binary, or the one that `VEDETTE_BINARY` names.
pub fn vedette_binary() -> Result<PathBuf> {
    std::env::var_os("VEDETTE_BINARY").map_or_else(release_binary, |path| Ok(path.into()))
}

/// `cargo xtask dist`
pub fn dist() -> Result<()> {
    web::build()?;
    let binary = release_binary()?;
    let size = std::fs::metadata(&binary)?.len();
    println!("{} ({:.1} MB)", binary.display(), size as f64 / 1e6);
    Ok(())
}

/// `cargo xtask up`: ends when the program does.
pub fn up(args: &[String]) -> Result<()> {
    web::build()?;
    let binary = release_binary()?;
    let mut command = Command::new(&binary);
    command.arg("up").args(args).current_dir(root());
    // Whoever names the folder, or a configuration that may name it, is not contradicted.
    let named = args.iter().any(|a| a.starts_with("--data-dir") || a.starts_with("--config"))
        || ["VEDETTE_DATA_DIR", "VEDETTE_CONFIG"].iter().any(|name| std::env::var_os(name).is_some());
    if !named {
        command.arg("--data-dir").arg(root().join("data"));
    }
    check(&mut command)
}
