//! The programs that cargo makes for tests, found so that lanes can run some of them: asked for one package only,
//! cargo would compile what that package uses once more, with other features.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::run::cargo;

/// All test programs of the workspace, the program that they test, and examples.
pub struct TestPrograms(Vec<Program>);

/// What cargo made.
pub struct Program {
    /// The folder of its package, in which cargo would run it.
    folder: PathBuf,
    /// The name of a program, of a file of tests, or of the library whose modules they stand in.
    pub name: String,
    is_test: bool,
    pub executable: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Runs a command of cargo that builds, and gives the programs it made or found made.
pub fn built(build: &mut Command) -> Result<Vec<Program>> {
    build.arg("--message-format=json-render-diagnostics");
    eprintln!("$ {build:?}");
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo cannot build it");
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let messages = lines.map(serde_json::from_slice::<Message>);
    let programs = messages.filter_map(|message| message.map(Program::of).transpose());
    Ok(programs.collect::<Result<_, _>>()?)
}

impl TestPrograms {
    /// Builds all of them.
    pub fn build() -> Result<Self> {
        built(&mut cargo(&["test", "--locked", "--workspace", "--no-run"])).map(Self)
    }

    /// A program or example that is built with them: `vedette` is what tests of its package start.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let found = self.0.iter().find(|program| !program.is_test && program.name == name);
        Ok(found.with_context(|| format!("cargo names no program {name}"))?.executable.clone())
    }

    /// The tests of one file, or of the library of that name, of the package in this folder.
    pub fn command(&self, folder: &str, name: &str) -> Result<Command> {
        let mut found = self.of(folder).filter(|program| program.name == name);
        let program = found.next().with_context(|| format!("{folder} has no tests {name}"))?;
        Ok(program.command())
    }

    /// Each file of tests of the package in this folder.
    pub fn commands(&self, folder: &str) -> Vec<Command> {
        self.of(folder).map(Program::command).collect()
    }

    fn of(&self, folder: &str) -> impl Iterator<Item = &Program> {
        self.0.iter().filter(move |program| program.is_test && program.folder.ends_with(folder))
    }
}

impl Program {
    /// What a message of cargo says of one, if it does.
    fn of(message: Message) -> Option<Self> {
        let Message { reason, manifest_path, target, profile, executable } = message;
        let (target, profile, executable) = (target?, profile?, executable?);
        let folder = manifest_path?.parent().map(Path::to_owned)?;
        let program = Self { folder, name: target.name, is_test: profile.test, executable };
        (reason == "compiler-artifact").then_some(program)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder);
        command
    }
}
