//! Which machine this is.

use vedette_model::Host;

use crate::{Config, Error, file::read_text};

/// Who the machine is, and what runs on it. Stays the same until the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name, machine id and boot id.
    pub host: Host,
    /// Release of the kernel, for example `6.1.0-18-amd64`.
    pub kernel_release: String,
    /// Version of the kernel's build.
    pub kernel_version: String,
    /// Machine, for example `x86_64`.
    pub machine: String,
}

impl Identity {
    /// Reads it. Ids that the machine does not have are empty.
    pub fn read(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let uname = rustix::system::uname();
        let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
        let kernel = config.proc_root.join("sys/kernel");
        let below_root = config.machine_id.strip_prefix("/").unwrap_or(&config.machine_id);
        Ok(Self {
            host: Host {
                name: read_text(&kernel.join("hostname"))
                    .filter(|name| !name.is_empty())
                    .unwrap_or_else(|| text(uname.nodename())),
                id: read_text(&config.root.join(below_root)).unwrap_or_default(),
                boot_id: read_text(&kernel.join("random/boot_id")).unwrap_or_default(),
            },
            kernel_release: text(uname.release()),
            kernel_version: text(uname.version()),
            machine: text(uname.machine()),
        })
    }
}
