//! What the allocator of the C library keeps of memory that is not used.
//!
//! glibc gives each thread an arena, up to eight for each processor, and keeps in them what was freed. Once a
//! large buffer has come and gone, it keeps buffers of that size too: it raises the size from which it maps
//! buffers one by one to that of the largest that was freed.
#![allow(unsafe_code, reason = "the allocator is asked in C; each block says why it is sound")]

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
