//! `/proc/meminfo` and the part of `/proc/vmstat` that node_exporter reports.

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{FileBudget, KeptFile},
    keyed::Keyed,
    parse,
    series::{Family, Pass, Series},
};

pub(super) struct MemInfo {
    file: KeptFile,
    fields: Keyed<Series>,
}

impl MemInfo {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self { file: KeptFile::new(config.proc_root.join("meminfo"), budget), fields: Keyed::default() }
    }
}

/// `Active(anon)` in kilobytes becomes `Active_anon_bytes`.
pub(super) fn memory_field(name: &str, kilobytes: bool) -> String {
    let mut field = name.replace('(', "_").replace(')', "");
    if kilobytes {
        field.push_str("_bytes");
    }
    field
}

fn define_memory(pass: &mut Pass<'_>, name: &str, kilobytes: bool) -> Series {
    let field = memory_field(name, kilobytes);
    let help = format!("Memory information field {field}.");
    pass.define(Family::gauge(&format!("node_memory_{field}"), &help), &[])
}

impl Collector for MemInfo {
    fn name(&self) -> &'static str {
        "meminfo"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/meminfo"))?;
        self.fields.begin();
        for line in parse::lines(text) {
            let Some((key, rest)) = parse::split_once(line, b':') else { continue };
            let mut words = parse::words(rest);
            let Some(n) = words.next().and_then(parse::unsigned) else { continue };
            let kilobytes = words.next() == Some(b"kB");
            if let Some(series) = self.fields.entry(key, |name| define_memory(pass, name, kilobytes)) {
                pass.put(*series, parse::value(n) * if kilobytes { 1024.0 } else { 1.0 });
            }
        }
        self.fields.end(|series| pass.retire(series));
        Ok(())
    }
}

pub(super) struct VmStat {
    file: KeptFile,
    fields: Keyed<Series>,
}

impl VmStat {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self { file: KeptFile::new(config.proc_root.join("vmstat"), budget), fields: Keyed::default() }
    }
}

/// Whether node_exporter reports the field by default: OOM kills, paging, swapping and faults.
fn is_reported(key: &[u8]) -> bool {
    let fault = |rest: &[u8]| rest.windows(5).any(|w| w == b"fault");
    key.starts_with(b"oom_kill")
        || key.starts_with(b"pgpg")
        || key.starts_with(b"pswp")
        || key.strip_prefix(b"pg").is_some_and(fault)
}

impl Collector for VmStat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/vmstat"))?;
        self.fields.begin();
        for (key, n) in parse::fields(text).filter(|(key, _)| is_reported(key)) {
            let define = |name: &str| {
                let help = format!("/proc/vmstat information field {name}.");
                pass.define(Family::untyped(&format!("node_vmstat_{name}"), &help), &[])
            };
            if let Some(series) = self.fields.entry(key, define) {
                pass.put(*series, parse::value(n));
            }
        }
        self.fields.end(|series| pass.retire(series));
        Ok(())
    }
}
