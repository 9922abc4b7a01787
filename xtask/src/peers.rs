//! Reference programs that are Go modules: built once, by the versions that `tests/peers` pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::run::{check, output, root, target};

/// How long building the programs of a module may take, as `timeout` takes it: the first build fetches
/// some hundred modules, which a slow proxy can stretch without end.
const BUILD_SECONDS_MAX: &str = "1500";

/// A Go module whose programs are built. One build for all of them, as they share most of their packages.
struct Module {
    /// Its folder in the project.
    folder: &'static str,
    /// Where the programs come to lie, below `target/peers`.
    programs: &'static str,
    packages: &'static [&'static str],
    options: &'static [&'static str],
}

/// Prometheus and what is like it.
const PROMETHEUS: Module = Module {
    folder: "tests/peers",
    programs: "go",
    packages: &[
        "github.com/prometheus/prometheus/cmd/prometheus",
        "github.com/prometheus/prometheus/cmd/promtool",
        "./blocks",
        "./expositions",
    ],
    // Leaves out what needs the software kits of all clouds, which is most of the code, and what only
    // a debugger reads.
    options: &["-p", "2", "-trimpath", "-ldflags=-s -w", "-tags", "remove_all_sd"],
};

/// The control plane of Kubernetes and its client, as one program.
const KUBERNETES: Module = Module {
    folder: "tests/peers/kubernetes",
    programs: "kubernetes",
    packages: &["."],
    options: &["-p", "2", KUBERNETES_LDFLAGS],
};

/// Its parts ask each other of which version they are, which the project's own build writes into them.
const KUBERNETES_LDFLAGS: &str = "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

/// The folder with Prometheus and its like, or why they cannot be built here.
pub fn programs() -> Result<PathBuf> {
    PROMETHEUS.build()
}

/// The folder with the program `kubernetes`, or why it cannot be built here.
pub fn kubernetes() -> Result<PathBuf> {
    KUBERNETES.build()
}

/// Fetches the modules of both.
pub fn fetch() -> Result<()> {
    PROMETHEUS.fetch().and(KUBERNETES.fetch())
}

impl Module {
    /// Fetches what the programs are built of, which is less than all that the module names.
    fn fetch(&self) -> Result<()> {
        let mut list = Command::new("timeout");
        list.args([BUILD_SECONDS_MAX, "go", "list", "-deps"]).args(self.options).args(self.packages);
        output(list.current_dir(root().join(self.folder)).env("CGO_ENABLED", "0"))?;
        Ok(())
    }

    fn build(&self) -> Result<PathBuf> {
        let version = output(Command::new("go").arg("version"))
            .context("there is no Go; install Go 1.26 or later to build the reference programs")?;
        let folder = target().join("peers").join(self.programs);
        let module = root().join(self.folder);
        let stamp = folder.join(".built");
        let inputs = self.inputs(&module, version)?;
        let there = self.packages.iter().all(|package| folder.join(self.program(package)).is_file());
        if there && fs::read_to_string(&stamp).is_ok_and(|built| built == inputs) {
            return Ok(folder);
        }
        fs::create_dir_all(&folder)?;
        let mut build = Command::new("timeout");
        build.args([BUILD_SECONDS_MAX, "go", "build"]).args(self.options).arg("-o").arg(&folder);
        check(build.args(self.packages).current_dir(module).env("CGO_ENABLED", "0"))?;
        fs::write(stamp, inputs)?;
        Ok(folder)
    }

    /// What Go calls the program of a package.
    fn program<'a>(&'a self, package: &'a str) -> &'a str {
        let path = if package == "." { self.folder } else { package };
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Everything that the programs depend on: whoever changes it gets others.
    fn inputs(&self, module: &Path, version: String) -> Result<String> {
        let mut text = version;
        text.push_str(&self.options.join(" "));
        let mut files = vec![module.join("go.mod"), module.join("go.sum")];
        for own in self.packages.iter().filter(|package| package.starts_with('.')) {
            for entry in fs::read_dir(module.join(own))? {
                files.push(entry?.path());
            }
        }
        files.retain(|file| file.is_file());
        files.sort();
        for file in files {
            text.push_str(&fs::read_to_string(&file).with_context(|| file.display().to_string())?);
        }
        Ok(text)
    }
}
