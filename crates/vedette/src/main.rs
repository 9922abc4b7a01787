//! The `vedette` binary: configuration, composition and command line. No domain logic.
//!
//! Exit status: 0 done and clean, 1 findings or problems, 2 could not be done, 3 wrong usage.

mod cli;
mod client;
mod config;
mod print;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use cli::{Check, Cli, Command, Output, Rules};
use vedette_sys::{Clock, SystemClock};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROBLEMS: u8 = 1;
const NOT_DONE: u8 = 2;
const WRONG_USAGE: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_DONE)
        }
    }
}
