//! What containers are given beyond what a container usually has, as a set of bits: most are given nothing.

use serde::{Deserialize, Deserializer};

use super::null_as_default;

/// Capabilities by their numbers in Linux.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What the level Baseline of the Pod Security Standards lets a container add: what runtimes give anyway.
const HARMLESS: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Those by which a container can take its whole machine.
const GRAVE: [&str; 6] = ["BPF", "DAC_READ_SEARCH", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"];

/// What a container, or all of a pod, is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Powers(u64);

/// The bits after those of capabilities.
const UNKNOWN: u32 = 60;
const ALL: u32 = 61;
const PRIVILEGED: u32 = 62;
const HOST_PROCESS: u32 = 63;

impl Powers {
    /// Whether it is given everything.
    pub(crate) fn is_privileged(self) -> bool {
        self.has(PRIVILEGED)
    }

    /// Whether it runs as a process of its Windows machine.
    pub(crate) fn is_host_process(self) -> bool {
        self.has(HOST_PROCESS)
    }

    /// The capabilities that are added and dangerous, and whether each leads to the whole machine. A name that is no
    /// capability is told as such.
    pub(crate) fn capabilities(self) -> impl Iterator<Item = (&'static str, bool)> {
        let named = CAPABILITIES.iter().enumerate().map(|(number, name)| (number as u32, *name));
        let special = [(ALL, "ALL"), (UNKNOWN, "one of an unknown name")];
        let is_grave = |bit: u32, name: &str| bit == ALL || GRAVE.contains(&name);
        let added = special.into_iter().chain(named).filter(move |(bit, _)| self.has(*bit));
        added.filter(|(_, name)| !HARMLESS.contains(name)).map(move |(bit, name)| (name, is_grave(bit, name)))
    }

    fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    fn add_capability(&mut self, name: &str) {
        // Runtimes take the name with and without its prefix, in any case.
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        // Admission takes the harmless by their very names alone.
        let is_other = HARMLESS.contains(&bare) && bare != name;
        let number =
            CAPABILITIES.iter().position(|known| *known == bare && !is_other).map(|number| number as u32);
        self.0 |= 1 << number.unwrap_or(if bare == "ALL" { ALL } else { UNKNOWN });
    }
}

/// From a `securityContext`.
impl<'de> Deserialize<'de> for Powers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Context {
            #[serde(deserialize_with = "null_as_default")]
            privileged: bool,
            #[serde(deserialize_with = "null_as_default")]
            capabilities: Capabilities,
            #[serde(deserialize_with = "null_as_default")]
            windows_options: Windows,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Capabilities {
            #[serde(deserialize_with = "null_as_default")]
            add: Vec<Box<str>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Windows {
            #[serde(deserialize_with = "null_as_default")]
            host_process: bool,
        }
        let context = Context::deserialize(from)?;
        let mut powers = Self::default();
        powers.0 |= u64::from(context.privileged) << PRIVILEGED;
        powers.0 |= u64::from(context.windows_options.host_process) << HOST_PROCESS;
        context.capabilities.add.iter().for_each(|name| powers.add_capability(name));
        Ok(powers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_given_is_read_from_a_security_context() {
        let told = |context: &Value| {
            let powers: Powers = serde_json::from_value(context.clone()).expect("sound");
            let names: Vec<_> = powers.capabilities().collect();
            (powers.is_privileged(), powers.is_host_process(), names)
        };
        let added = |names: &[&str]| json!({"capabilities": {"add": names, "drop": ["ALL"]}});
        for (context, expected) in [
            (json!({}), (false, false, vec![])),
            (
                json!({"privileged": null, "capabilities": null, "windowsOptions": null}),
                (false, false, vec![]),
            ),
            (json!({"privileged": false, "capabilities": {"add": null}}), (false, false, vec![])),
            (json!({"privileged": true, "runAsUser": 0}), (true, false, vec![])),
            (json!({"windowsOptions": {"hostProcess": true}}), (false, true, vec![])),
            (added(&HARMLESS), (false, false, vec![])),
            (added(&["NET_RAW", "CHOWN"]), (false, false, vec![("NET_RAW", false)])),
            (added(&["cap_sys_admin", "all"]), (false, false, vec![("ALL", true), ("SYS_ADMIN", true)])),
            (added(&["", "ALLE"]), (false, false, vec![("one of an unknown name", false)])),
            (added(&["chown", "CAP_KILL"]), (false, false, vec![("one of an unknown name", false)])),
        ] {
            assert_eq!(told(&context), expected, "{context}");
        }
        // All names are told but the 13.
        assert_eq!(told(&added(&CAPABILITIES)).2.len(), 41 - 13);
        assert!(GRAVE.iter().chain(&HARMLESS).all(|name| CAPABILITIES.contains(name)));
    }
}
