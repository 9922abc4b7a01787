//! Tells the linker how to write down where the loader must add the program's address.
//!
//! These are some hundred thousand places. Written one by one they are megabytes that each start reads and that stay
//! resident; as a bitmap (`DT_RELR`) they are a fiftieth of that. glibc reads it since 2.36; a program that is built
//! where glibc is older has no bitmap, and starts there.

use std::{env, process::Command};

/// The first version of glibc that reads the bitmap.
const GLIBC_MIN: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_for_here = env::var_os("HOST") == env::var_os("TARGET");
    if is_for_here && glibc().is_some_and(|version| version >= GLIBC_MIN) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Of this machine; `None` where there is another C library.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
