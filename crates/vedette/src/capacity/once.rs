//! The objects of a cluster, read once from its API server.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    slice,
    sync::Arc,
};

use anyhow::{Result, bail};
use vedette_capacity::Snapshot;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_k8s::{Api, Connection, Error, SERVICE_ACCOUNT_FOLDER, Surroundings};
use vedette_sys::SystemClock;

use super::objects::{Kept, Kind, for_each_kind};
use crate::cli::Capacity;

/// Objects between two changes of the line that says how far it is.
const SHOW_EVERY: usize = 500;

/// Adds all that is judged to the snapshot. What may not be read is told and, if it can be, done without.
pub async fn read(args: &Capacity, snapshot: &mut Snapshot) -> Result<()> {
    let connection = match &args.kubeconfig {
        Some(file) => Connection::by_kubeconfig(slice::from_ref(file), args.context.as_deref()),
        None => {
            let env = |name: &str| std::env::var(name).ok();
            let service_account = PathBuf::from(SERVICE_ACCOUNT_FOLDER);
            Connection::in_cluster(Surroundings { env: &env, service_account: &service_account })
        }
    };
    let options = Options {
        user_agent: format!("Vedette/{}", env!("CARGO_PKG_VERSION")),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::read(&|name| std::env::var(name).ok()),
        clock: Arc::new(SystemClock),
    };
    let api = Api::new(connection?, options);
    macro_rules! read_all {
        ($($kind:ty),*) => {{ $( kind::<$kind>(&api, snapshot).await?; )* }};
    }
    for_each_kind!(read_all);
    Ok(())
}

async fn kind<K: Kind>(api: &Api, snapshot: &mut Snapshot) -> Result<()> {
    let resource = K::RESOURCE.name();
    let shows = std::io::stderr().is_terminal();
    // A terminal that is gone is no reason to stop.
    let show = |text: std::fmt::Arguments<'_>| {
        if shows {
            let _ = std::io::stderr().write_fmt(format_args!("\r\x1b[K{text}"));
        }
    };
    let mut objects: Vec<Arc<K>> = Vec::new();
    let read = api.list::<Kept<K>>(|kept| {
        match kept {
            Some(kept) => objects.push(kept.object),
            None => objects.clear(),
        }
        if objects.len().is_multiple_of(SHOW_EVERY) {
            show(format_args!("reading {resource}: {}", objects.len()));
        }
    });
    let read = read.await;
    show(format_args!(""));
    match read {
        Ok(()) => objects.into_iter().for_each(|object| object.add(snapshot)),
        Err(error) if !K::IS_NEEDED && is_missing(&error) => {
            eprintln!("warning: {resource} are not read, and what they say is not judged: {}", error.told());
        }
        Err(error) => bail!("cannot read {resource} of {}: {}", api.connection().address(), error.told()),
    }
    Ok(())
}

/// Whether the account may not read it, or the cluster does not have it.
pub fn is_missing(error: &Error) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.code, 403 | 404))
}
