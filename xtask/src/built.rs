//! The programs that cargo makes of tests, found so that lanes can run some of them: asked for one package only,
//! cargo would compile what that package uses once more, with other features.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::run::cargo;

/// All test programs of the workspace.
pub struct TestPrograms(Vec<Program>);

struct Program {
    /// The folder of its package, in which cargo would run it.
    folder: PathBuf,
    /// The name of a file of tests, or of the library whose modules they stand in.
    name: String,
    executable: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl TestPrograms {
    /// Builds all of them.
    pub fn build() -> Result<Self> {
        let mut build = cargo(&["test", "--locked", "--workspace", "--no-run"]);
        build.arg("--message-format=json-render-diagnostics");
        eprintln!("$ {build:?}");
        let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        ensure!(output.status.success(), "the tests cannot be built");
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let messages = lines.map(serde_json::from_slice::<Message>);
        let programs = messages.filter_map(|message| message.map(Program::of).transpose());
        Ok(Self(programs.collect::<Result<_, _>>()?))
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
        self.0.iter().filter(move |program| program.folder.ends_with(folder))
    }
}

impl Program {
    /// What a message of cargo says of one, if it does.
    fn of(message: Message) -> Option<Self> {
        let Message { reason, manifest_path, target, executable } = message;
        let (target, executable, manifest) = (target?, executable?, manifest_path?);
        // Programs that tests start are told, too.
        let is_test = target.kind.iter().any(|kind| kind == "test" || kind == "lib");
        let folder = manifest.parent().map(Path::to_owned)?;
        (reason == "compiler-artifact" && is_test).then_some(Self { folder, name: target.name, executable })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder);
        command
    }
}
