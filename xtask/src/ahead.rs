//! What lanes of the continuous integration need besides the project's own code, prepared while something else is
//! waited for. Whatever fails here is done again, and told, by the lane that needs it.

use anyhow::Result;

use crate::{debian, fuzz, guest, jvm, otel, peers, web};

/// As `nice` counts.
const LOWEST_PRIORITY: i32 = 19;

/// Fetches what comes from elsewhere: while the lints are compiled, the network has nothing to do.
pub fn fetch() {
    tell("packages of the web app", web::install());
    tell("Debian's packages", debian::prepare());
    tell("the virtual machine", guest::tree());
    tell("OpenTelemetry's library", otel::packages());
    tell("servers for the JVM", jvm::artefacts());
    tell("modules of the reference programs", peers::fetch());
}

/// Builds reference programs and fuzz targets at the lowest priority, which is this thread's from then on: while
/// end-to-end tests wait, which is what they do most of the time, the processors have nothing to do.
pub fn build() {
    tell("background work", rustix::process::nice(LOWEST_PRIORITY).map_err(Into::into));
    tell("Prometheus", peers::programs());
    tell("the control plane of Kubernetes", peers::kubernetes());
    tell("fuzz targets", fuzz::build());
}

fn tell<T>(what: &str, done: Result<T>) {
    if let Err(error) = done {
        eprintln!("{what} cannot be prepared: {error:#}");
    }
}
