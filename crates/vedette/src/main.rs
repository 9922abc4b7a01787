//! The `vedette` binary.

#[expect(dead_code)]
mod config;

fn main() {}
