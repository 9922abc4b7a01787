//! Which system calls' exits are looked at: one table for the machine's own programs, one for
//! 32-bit ones, as the programs index them. Numbers are those of the kernel's own tables.

use crate::abi::{SYSCALLS_MAX, interest};

type Entry = (usize, u8);

#[cfg(target_arch = "x86_64")]
const NATIVE: &[Entry] = &[
    (2, interest::OPEN),
    (32, interest::DUP),
    (33, interest::DUP),
    (42, interest::CONNECT),
    (43, interest::ACCEPT),
    (72, interest::FCNTL),
    (257, interest::OPEN),
    (288, interest::ACCEPT),
    (292, interest::DUP),
    (437, interest::OPEN),
];

/// `connect` and `accept` of old 32-bit programs come by `socketcall` (102), whose arguments are
/// not in registers; the state of the socket tells of those connections nonetheless.
#[cfg(target_arch = "x86_64")]
const COMPAT: &[Entry] = &[
    (5, interest::OPEN),
    (41, interest::DUP),
    (55, interest::FCNTL),
    (63, interest::DUP),
    (221, interest::FCNTL),
    (295, interest::OPEN),
    (330, interest::DUP),
    (362, interest::CONNECT),
    (364, interest::ACCEPT),
    (437, interest::OPEN),
];

#[cfg(target_arch = "aarch64")]
const NATIVE: &[Entry] = &[
    (23, interest::DUP),
    (24, interest::DUP),
    (25, interest::FCNTL),
    (56, interest::OPEN),
    (202, interest::ACCEPT),
    (203, interest::CONNECT),
    (242, interest::ACCEPT),
    (437, interest::OPEN),
];

#[cfg(target_arch = "aarch64")]
const COMPAT: &[Entry] = &[
    (5, interest::OPEN),
    (41, interest::DUP),
    (55, interest::FCNTL),
    (63, interest::DUP),
    (221, interest::FCNTL),
    (283, interest::CONNECT),
    (285, interest::ACCEPT),
    (322, interest::OPEN),
    (358, interest::DUP),
    (366, interest::ACCEPT),
    (437, interest::OPEN),
];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: &[Entry] = &[];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const COMPAT: &[Entry] = &[];

/// Both tables, the native one first.
pub fn interest_table() -> [u8; 2 * SYSCALLS_MAX] {
    let mut table = [0; 2 * SYSCALLS_MAX];
    for (number, what) in NATIVE {
        table[*number] = *what;
    }
    for (number, what) in COMPAT {
        table[SYSCALLS_MAX + number] = *what;
    }
    table
}
