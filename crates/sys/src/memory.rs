//! Memory that is not used: what the allocator of the C library keeps of it, and what only the start of a program
//! needed of the program's file.
//!
//! glibc gives each thread an arena, up to eight for each processor, and keeps in them what was freed. Once a
//! large buffer has come and gone, it keeps buffers of that size too: it raises the size from which it maps
//! buffers one by one to that of the largest that was freed.
#![allow(
    unsafe_code,
    reason = "the allocator and the kernel are told of memory; each block says why it is sound"
)]

use std::{fs, ops::Range};

use rustix::mm::{Advice, madvise};

/// Buffers from this size on are mapped one by one, so that they go back to the kernel when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: i32 = 128 << 10;
/// How much may be free at the top of an arena.
#[cfg(target_env = "gnu")]
const FREE_BYTES_MAX: i32 = 256 << 10;
/// One for the thread that works, one for those that meet it.
#[cfg(target_env = "gnu")]
const ARENAS_MAX: i32 = 2;

/// Makes the allocator give memory back rather than keep it for the next time. For a program that allocates
/// seldom, before it starts threads: those that have an arena keep it. Without glibc nothing is done.
pub fn keep_little_free_memory() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_ARENA_MAX, ARENAS_MAX),
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        (libc::M_TRIM_THRESHOLD, FREE_BYTES_MAX),
    ] {
        // SAFETY: takes two integers, and changes only how the allocator goes on, under its own lock. What it
        // does not take, it leaves as it was.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Gives free memory back to the kernel, also what lies between pieces that are in use. Looks through all
/// that is free, so it is for when a program has ended a piece of work that it does not repeat. Without glibc
/// nothing is done.
pub fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer, touches only the allocator's own free memory, is thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets the kernel take the pages of the program's file: of the code and its constants, most are needed by the start
/// only. They leave the page cache, too, where no other process has mapped them, so that memory becomes free; what is
/// needed again is read again, which is some ten reads of the disk. The kernel does this only for whoever owns the
/// file, or may write it; for others, and before Linux 5.4, nothing is done.
pub fn give_back_program_file() {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for place in unchanged(&maps, &program.to_string_lossy()) {
        let start = std::ptr::with_exposed_provenance_mut(place.start);
        // SAFETY: whatever lies there stays as it is: what is taken from memory is read again from the file, or from
        // where the kernel has put what differs from it.
        let _ = unsafe { madvise(start, place.len(), Advice::LinuxPageOut) };
    }
}

/// Where the program's file is mapped up to the end of its code: what comes behind that was changed by the loader, and
/// is in the file no more.
fn unchanged(maps: &str, program: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(program)) {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let number = |text| usize::from_str_radix(text, 16).ok();
        let ends = range.split_once('-').and_then(|(start, end)| Some(number(start)?..number(end)?));
        found.extend(ends);
        if rights.contains('x') {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loader_has_changed_is_not_given_back() {
        let maps = "1000-3000 r--p 00000000 fe:00 7 /bin/own\n3000-8000 r-xp 00002000 fe:00 7 /bin/own\n\
            8000-9000 r--p 00007000 fe:00 7 /bin/own\n9000-a000 rw-p 00008000 fe:00 7 /bin/own\n\
            a000-b000 rw-p 00000000 00:00 0 [heap]\nb000-c000 r-xp 00000000 fe:00 8 /lib/libc.so.6\n";
        assert_eq!(unchanged(maps, "/bin/own"), [0x1000..0x3000, 0x3000..0x8000]);
        assert_eq!(unchanged(maps, "/bin/other"), []);
        assert_eq!(unchanged("?-1 r--p /bin/own\n/bin/own\n", "/bin/own"), []);
    }
}
