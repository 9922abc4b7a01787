//! The committed objects are what their source compiles to.
//!
//! `bpf/BUILD` holds the commands. Where the recorded compiler and libbpf headers are present the
//! objects are built anew and compared; everywhere it is checked that the source has not changed
//! since. `VEDETTE_BPF_BUILD=1 cargo test -p vedette-ebpf --test object` builds and commits to disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn bpf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf")
}

/// What `bpf/BUILD` says.
struct Recipe {
    archs: Vec<(String, String)>,
    versions: Vec<Vec<String>>,
    runs: Vec<String>,
}

fn recipe() -> Recipe {
    let text = fs::read_to_string(bpf().join("BUILD")).unwrap();
    let mut recipe = Recipe { archs: Vec::new(), versions: Vec::new(), runs: Vec::new() };
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        match line.split_once(' ') {
            Some(("arch", rest)) => {
                let (name, arch) = rest.split_once(' ').unwrap();
                recipe.archs.push((name.to_owned(), arch.to_owned()));
            }
            Some(("version", rest)) => recipe.versions.push(rest.split(' ').map(str::to_owned).collect()),
            Some(("run", rest)) => recipe.runs.push(rest.to_owned()),
            _ => panic!("bpf/BUILD has a line that is none of arch, version, run: {line}"),
        }
    }
    recipe
}

/// First lines of what the version commands print; `None` where a tool is missing.
fn versions(recipe: &Recipe) -> Option<String> {
    let mut text = String::new();
    for command in &recipe.versions {
        let output = Command::new(&command[0]).args(&command[1..]).output().ok()?;
        if !output.status.success() {
            return None;
        }
        let first = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned();
        writeln!(text, "{}: {first}", command[0]).unwrap();
    }
    Some(text)
}

/// FNV-1a over the sources, so that a forgotten build is noticed without a compiler too.
fn source_line() -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in ["abi/event.h", "programs/kernel.h", "programs/sensor.bpf.c", "BUILD"] {
        for byte in fs::read(bpf().join(file)).unwrap() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("sources: {hash:016x}\n")
}

fn build(recipe: &Recipe, arch: &(String, String), object: &Path) {
    for run in &recipe.runs {
        let words: Vec<String> = run
            .split(' ')
            .map(|w| w.replace("{macro}", &arch.0).replace("{object}", &object.to_string_lossy()))
            .collect();
        let status = Command::new(&words[0]).args(&words[1..]).current_dir(bpf().join("programs")).status();
        assert!(status.is_ok_and(|s| s.success()), "{} failed", words.join(" "));
    }
}

#[test]
fn objects_are_what_the_source_compiles_to() {
    let recipe = recipe();
    let record = bpf().join("programs/sensor.built-with");
    let object = |arch: &str| bpf().join(format!("programs/sensor.{arch}.bpf.o"));
    let found = versions(&recipe);
    if std::env::var_os("VEDETTE_BPF_BUILD").is_some() {
        for arch in &recipe.archs {
            build(&recipe, arch, &object(&arch.1));
        }
        let found = found.expect("apt-get install clang llvm libbpf-dev");
        fs::write(&record, found + &source_line()).unwrap();
        return;
    }
    let recorded = fs::read_to_string(&record).unwrap();
    assert!(
        recorded.ends_with(&source_line()),
        "the source of the sensor has changed since its objects were built: run \
         VEDETTE_BPF_BUILD=1 cargo test -p vedette-ebpf --test object"
    );
    if found.as_ref().is_none_or(|found| !recorded.starts_with(found.as_str())) {
        println!(
            "SKIPPED comparing the kernel objects: it needs exactly the compiler of {recorded:?}, here is {:?}",
            found.unwrap_or_default()
        );
        return;
    }
    let folder = std::env::temp_dir().join(format!("vedette-object-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for arch in &recipe.archs {
        let fresh = folder.join(&arch.1);
        build(&recipe, arch, &fresh);
        assert!(
            fs::read(&fresh).unwrap() == fs::read(object(&arch.1)).unwrap(),
            "sensor.{}.bpf.o is not what its source compiles to: run \
             VEDETTE_BPF_BUILD=1 cargo test -p vedette-ebpf --test object",
            arch.1
        );
    }
    fs::remove_dir_all(&folder).unwrap();
}
