//! What the allocator keeps. In a program of its own, as it is about the memory of a whole process.

#![cfg(target_env = "gnu")]
#![expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]

use std::hint::black_box;

use vedette_sys::{give_back_free_memory, give_back_program_file, keep_little_free_memory};

/// Resident bytes of the process that are no pages of files.
fn anonymous() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    bytes(text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap())
}

fn bytes(kilobytes: &str) -> usize {
    kilobytes.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

/// Resident bytes of the code of the program, of its file and not of libraries.
fn code() -> usize {
    let program = std::env::current_exe().unwrap();
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let is_code = |line: &&str| line.contains(" r-xp ") && line.ends_with(program.to_str().unwrap());
    let mut lines = text.lines().skip_while(|line| !is_code(line));
    bytes(lines.find_map(|line| line.strip_prefix("Rss:")).unwrap())
}

/// So large that glibc maps the first one by itself, and by default keeps those that follow.
const BUFFER_BYTES: usize = 1_200_000;
const PIECE_BYTES: usize = 1024;
const PIECES: usize = 8 << 10;

/// What is left of a buffer after it was freed.
fn left_of_a_buffer() -> usize {
    let before = anonymous();
    let buffer = black_box(vec![1_u8; BUFFER_BYTES]);
    assert!(anonymous() >= before + BUFFER_BYTES / 2, "it was used");
    drop(buffer);
    anonymous().saturating_sub(before)
}

#[test]
fn what_is_not_needed_goes_back_to_the_kernel() {
    keep_little_free_memory();
    for time in 0..3 {
        let left = left_of_a_buffer();
        assert!(left < BUFFER_BYTES / 4, "{left} bytes are left of buffer {time}");
    }

    let before = anonymous();
    let mut pieces: Vec<_> = (0..PIECES).map(|_| black_box(vec![1_u8; PIECE_BYTES])).collect();
    // The last one is in use and keeps the arena from shrinking.
    let last = pieces.pop();
    let used = anonymous();
    drop(pieces);
    let kept = anonymous();
    assert!(
        kept > before + PIECES * PIECE_BYTES / 2,
        "else nothing is to be given back: {before}, {used}, {kept}"
    );
    give_back_free_memory();
    let left = anonymous();
    assert!(
        left < before + PIECES * PIECE_BYTES / 4,
        "{before} before, {used} in use, {kept} freed, {left} left"
    );
    assert!(last.is_some_and(|piece| piece.len() == PIECE_BYTES));

    // Pages that are not on disk yet cannot be taken.
    std::fs::File::open(std::env::current_exe().unwrap()).unwrap().sync_all().unwrap();
    let before = code();
    give_back_program_file();
    let left = code();
    // What goes on is read again at once, with what lies around it.
    assert!(left < before, "of {before} bytes of code {left} are left");
}
