//! The parts of the small virtual machine in which tests meet a kernel unlike this machine's: an
//! emulator, Debian's cloud kernel and LVM's tools, with all their libraries.
//!
//! They are unpacked into a tree of their own, as its C library is loaded instead of this machine's.
//! What was unpacked once stays as it is, whatever newer packages there are.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    debian,
    run::{output, target},
};

/// The kernel's newest version is named by a package that holds nothing else.
const KERNEL: &str = "linux-image-cloud-amd64";

/// Everything else.
const PACKAGES: &[&str] = &[
    // The emulator, its firmware and its part that translates.
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
    "ipxe-qemu",
    // LVM and what checks thin pools.
    "lvm2",
    "dmsetup",
    "thin-provisioning-tools",
    "libdevmapper1.02.1",
    "libdevmapper-event1.02.1",
    // Libraries of all of them.
    "libaio1",
    "libblkid1",
    "libbpf1",
    "libbsd0",
    "libc6",
    "libcap2",
    "libcapstone4",
    "libdaxctl1",
    "libedit2",
    "libelf1",
    "libexpat1",
    "libfdt1",
    "libffi8",
    "libfuse3-3",
    "libgcc-s1",
    "libgcrypt20",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libgpg-error0",
    "libhogweed6",
    "libibverbs1",
    "libidn2-0",
    "libjpeg62-turbo",
    "libkmod2",
    "liblz4-1",
    "liblzma5",
    "libmd0",
    "libmount1",
    "libndctl6",
    "libnettle8",
    "libnl-3-200",
    "libnl-route-3-200",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libpixman-1-0",
    "libpmem1",
    "libpng16-16",
    "librdmacm1",
    "libsasl2-2",
    "libseccomp2",
    "libselinux1",
    "libslirp0",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libtasn1-6",
    "libtinfo6",
    "libudev1",
    "libunistring2",
    "liburing2",
    "libuuid1",
    "libvdeplug2",
    "libzstd1",
    "zlib1g",
];

/// The root of the tree, or why it cannot be had.
pub fn tree() -> Result<PathBuf> {
    ensure!(cfg!(target_arch = "x86_64"), "the virtual machine is there for x86-64 only");
    let root = target().join("peers/guest");
    let (_, missing) = debian::unpacked_below(&root, PACKAGES)?;
    ensure!(missing.is_empty(), "as root: {}", missing.join("; "));
    // The modules come last of what is unpacked.
    let modules = fs::read_dir(root.join("lib/modules"));
    let booted = modules.is_ok_and(|mut kernels| {
        kernels.any(|kernel| kernel.is_ok_and(|kernel| kernel.path().join("kernel/drivers").is_dir()))
    });
    if !booted {
        let named = output(Command::new("apt-cache").args(["depends", "--important", KERNEL]))?;
        let kernel =
            named.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).with_context(|| {
                format!("Debian's package lists do not know {KERNEL}; as root: apt-get update")
            })?;
        let (_, missing) = debian::unpacked_below(&root, &[kernel])?;
        ensure!(missing.is_empty(), "as root: {}", missing.join("; "));
    }
    Ok(root)
}
