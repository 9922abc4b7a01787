//! Why the sensor does not run, in words for the status page.

/// Why the sensor does not run. What to do about it says [`Error::remedy`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refuses `bpf(2)` to this process.
    #[error("the kernel does not let this process load eBPF programs ({doing})")]
    NoPermission {
        /// What was being done.
        doing: String,
    },
    /// The kernel is locked down.
    #[error("kernel lockdown is at \"confidentiality\", which forbids eBPF programs to read kernel memory")]
    Lockdown,
    /// The kernel does not describe its own types.
    #[error("the kernel has no type information (/sys/kernel/btf/vmlinux)")]
    NoBtf {
        /// What reading it said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel lacks what the programs need.
    #[error("Linux {found} is too old: 5.8 is needed")]
    KernelTooOld {
        /// What `uname -r` says.
        found: String,
    },
    /// There is no object for this processor.
    #[error("there is no sensor for this processor architecture")]
    UnsupportedArchitecture,
    /// The kernel's verifier or linker refused a program.
    #[error("the kernel refused the program {program}: {log}")]
    Refused {
        /// Which program.
        program: &'static str,
        /// The end of what the verifier said.
        log: String,
        /// The error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else that went wrong while loading.
    #[error("cannot load the sensor ({doing})")]
    Load {
        /// What was being done.
        doing: String,
        /// The error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Waiting for the ring failed.
    #[error("cannot wait for kernel events")]
    Wait(#[source] std::io::Error),
}

impl Error {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoPermission { .. } => {
                "Run Vedette as root, or give it CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE; in a container also \
                 allow bpf(2) in the seccomp profile. Everything but kernel events works without."
            }
            Self::Lockdown => {
                "Start the kernel with lockdown=integrity, or without lockdown. Everything but kernel events \
                 works without."
            }
            Self::NoBtf { .. } => {
                "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y (distributions' kernels are, since 2020)."
            }
            Self::KernelTooOld { .. } => "Use Linux 5.8 or later, better 5.11.",
            Self::UnsupportedArchitecture => "Run Vedette on x86-64 or arm64.",
            Self::Refused { .. } | Self::Load { .. } => {
                "Please report it with this text and the output of `uname -a`. Everything but kernel events works."
            }
            Self::Wait(_) => "Restart Vedette; please report it if it happens again.",
        }
    }
}
