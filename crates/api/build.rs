//! Embeds the web app: writes a list of the files below `ui/dist`, empty where it was not built.
//! A file with `.gz` at its end is the compressed form of the one without.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let ui = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../ui");
    let dist = ui.join("dist");
    // While there is nothing to embed, watch the folder in which it will appear.
    let watched = if dist.is_dir() { &dist } else { &ui };
    println!("cargo::rerun-if-changed={}", watched.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut source = String::from("static ASSETS: &[Asset] = &[\n");
    for file in files.iter().filter(|f| f.extension().is_none_or(|e| e != "gz")) {
        let name = file.strip_prefix(&dist).expect("found below it").to_str().expect("names are UTF-8");
        let compressed = PathBuf::from(format!("{}.gz", file.display()));
        let gzip =
            if files.contains(&compressed) { format!("Some({})", form(&compressed)?) } else { "None".into() };
        source += &format!(
            "    Asset {{ path: {:?}, plain: {}, gzip: {gzip} }},\n",
            format!("/{name}"),
            form(file)?
        );
    }
    source += "];\n";
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo")).join("assets.rs");
    fs::write(out, source)
}

fn form(file: &Path) -> io::Result<String> {
    let etag = format!("\"{:016x}\"", fnv1a(&fs::read(file)?));
    let absolute = fs::canonicalize(file)?;
    Ok(format!("Form {{ etag: {etag:?}, bytes: include_bytes!({absolute:?}) }}"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Names a content; need not withstand anyone who wants two contents with one name.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
