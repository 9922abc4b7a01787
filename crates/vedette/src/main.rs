//! The `vedette` binary.

fn main() {}
