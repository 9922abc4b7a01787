//! The `vedette` binary: configuration, composition and command line. No domain logic.
//!
//! Exit status: 0 done and clean, 1 findings or problems, 2 could not be done, 3 wrong usage.

mod agent;
mod capacity;
mod cli;
mod client;
mod cluster_audit;
mod cluster_events;
mod cluster_parts;
mod cluster_policy;
mod cluster_state;
mod clusters;
mod config;
mod graphite;
mod judgement;
mod memory;
mod outlet;
mod own_page;
mod part_metrics;
mod print;
mod program;
mod prometheus_file;
mod push;
mod query_log;
#[cfg(test)]
mod reference;
mod stray_containers;
mod tsdb;
mod up;
mod web_files;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use cli::{Check, Cli, Command, LogFormat, Output, Rules};
use config::{Overrides, Role};
use vedette_sys::{Clock, SystemClock};

const CLEAN: u8 = 0;
const PROBLEMS: u8 = 1;
const NOT_DONE: u8 = 2;
const WRONG_USAGE: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { CLEAN });
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

fn run(command: Command) -> Result<u8> {
    match command {
        Command::Up(args) => run_role(args, Role::Up)?,
        Command::Server(args) => run_role(args, Role::Server)?,
        Command::Agent(args) => run_role(args, Role::Agent)?,
        Command::Query(args) => wait(client::query(&args, SystemClock.unix_ms()))?,
        Command::Events(args) => wait(client::events(&args, SystemClock.unix_ms()))?,
        Command::Check { what: Check::Config { file } } => {
            let checked = match config::load(Some(&file), Overrides::default()) {
                // What cannot be read cannot be judged.
                Err(error @ config::Error::Read { .. }) => return Err(error.into()),
                Err(error) => Err(error.into()),
                Ok(settings) => up::check(&settings),
            };
            match checked {
                Ok(text) => println!("{}: {text}", file.display()),
                Err(error) => {
                    eprintln!("error: {error:#}");
                    return Ok(PROBLEMS);
                }
            }
        }
        Command::Check { what: Check::PrometheusConfig { file } } => match up::check_prometheus(&file) {
            Ok(text) => println!("{}: {text}", file.display()),
            Err(error) => {
                eprintln!("error: {error:#}");
                return Ok(PROBLEMS);
            }
        },
        Command::Rules { what: Rules::Check { files } } => {
            if judgement::check_rule_files(&files)? > 0 {
                return Ok(PROBLEMS);
            }
        }
        Command::Tsdb { what } => return tsdb::run(what),
        Command::Capacity(args) => return capacity::run(&args),
        Command::Version { output: Output::Table } => println!("vedette {}", env!("CARGO_PKG_VERSION")),
        Command::Version { output } => {
            print::value(&serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }), output)?;
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "vedette", &mut std::io::stdout());
        }
    }
    Ok(CLEAN)
}

fn run_role(args: cli::Up, role: Role) -> Result<()> {
    let overrides = Overrides {
        role,
        listen: args.listen,
        data_dir: args.data_dir,
        prometheus_config: args.prometheus_config,
        web_config: args.web_config,
        external_url: args.external_url,
        route_prefix: args.route_prefix,
        cors_origin: args.cors_origin,
    };
    let settings = config::load(args.config.as_deref(), overrides)?;
    up::start_log(&args.log_level, args.log_format == LogFormat::Json)?;
    up::run(&settings)
}

pub(crate) fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    // The HTTP client wants to know who does its cryptography before it is made, also for http://.
    // It fails only where somebody has said so before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the network")?.block_on(work)
}
