//! Lists of targets in files. The meta label `__meta_filepath` names the file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use vedette_config::{discovery::FileDiscovery, prometheus::expand_pattern, targets};
use vedette_model::TargetGroup;
use vedette_sys::Fs;

/// The largest list that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The targets of one `file_sd_configs` entry.
#[derive(Debug)]
pub struct FileTargets {
    config: FileDiscovery,
    /// The last good groups of each file that is there.
    files: BTreeMap<PathBuf, Vec<TargetGroup>>,
}

impl FileTargets {
    /// Nothing is read yet.
    pub fn new(config: FileDiscovery) -> Self {
        Self { config, files: BTreeMap::new() }
    }

    /// Reads all files anew. A file that is gone loses its targets; one that cannot be read keeps its
    /// last good ones and is named in the error.
    pub fn refresh(&mut self, fs: &dyn Fs) -> Result<(), String> {
        let mut errors = Vec::new();
        let mut files = BTreeMap::new();
        for path in self.config.files.iter().flat_map(|pattern| expand_pattern(fs, pattern)) {
            if files.contains_key(&path) || !fs.exists(&path) {
                continue;
            }
            match read(fs, &path) {
                Ok(groups) => drop(files.insert(path, groups)),
                Err(error) => {
                    errors.push(error);
                    if let Some(groups) = self.files.remove(&path) {
                        files.insert(path, groups);
                    }
                }
            }
        }
        self.files = files;
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    /// The groups of all files.
    pub fn groups(&self) -> Vec<TargetGroup> {
        self.files.values().flatten().cloned().collect()
    }
}

fn read(fs: &dyn Fs, path: &Path) -> Result<Vec<TargetGroup>, String> {
    let name = path.display().to_string();
    let cannot = |error: std::io::Error| format!("cannot read {name}: {error}");
    let length = fs.open_read(path).and_then(|file| file.len()).map_err(cannot)?;
    if length > FILE_BYTES_MAX {
        return Err(format!("{name} has {length} bytes, more than {FILE_BYTES_MAX}"));
    }
    let bytes = fs.read(path).map_err(cannot)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not valid UTF-8"))?;
    let mut groups = targets::parse(&name, &text).map_err(|error| error.to_string())?;
    for (i, group) in groups.iter_mut().enumerate() {
        group.source = format!("{name}:{i}");
        group.labels = group.labels.to_builder().set("__meta_filepath", &name).build();
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vedette_sys::SimFs;

    use super::*;

    fn addresses(targets: &FileTargets) -> Vec<String> {
        let all = targets.groups();
        let each = all.iter().flat_map(TargetGroup::discovered);
        each.filter_map(|l| Some(format!("{} {}", l.get("__address__")?, l.get("__meta_filepath")?)))
            .collect()
    }

    #[test]
    fn files_come_change_break_and_go() {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("/t")).expect("a folder");
        let put = |name: &str, text: &str| fs.put(Path::new(name), text.as_bytes().to_vec());
        put("/t/a.yml", "- targets: ['a:1', 'a:2']\n  labels: {x: y}\n");
        put("/t/b.json", r#"[{"targets": ["b:1"]}]"#);
        let mut targets = FileTargets::new(FileDiscovery {
            files: vec!["/t/*.yml".into(), "/t/b.json".into(), "/t/a.yml".into(), "/none/*.yml".into()],
            refresh_interval: Duration::from_secs(300),
        });
        assert_eq!(targets.refresh(&fs), Ok(()));
        assert_eq!(addresses(&targets), ["a:1 /t/a.yml", "a:2 /t/a.yml", "b:1 /t/b.json"]);
        assert_eq!(targets.groups()[0].source, "/t/a.yml:0");
        // Half a file is written: its last good targets stay, the others follow.
        put("/t/a.yml", "- targets: ['a:1'");
        put("/t/b.json", r#"[{"targets": ["b:2"]}]"#);
        let error = targets.refresh(&fs).expect_err("broken");
        assert!(error.contains("/t/a.yml:1"), "{error}");
        assert_eq!(addresses(&targets), ["a:1 /t/a.yml", "a:2 /t/a.yml", "b:2 /t/b.json"]);
        put("/t/a.yml", "[]");
        fs.remove(Path::new("/t/b.json")).expect("there");
        assert_eq!(targets.refresh(&fs), Ok(()));
        assert_eq!(addresses(&targets), [""; 0]);
    }
}
