//! The reference of routes follows the table.

use std::{fmt::Write as _, path::Path};

use crate::routes::ROUTES;

const BEGIN: &str = "<!-- routes: written by cargo test -p vedette-api with VEDETTE_UPDATE=1 -->\n";
const END: &str = "<!-- end of routes -->\n";

#[test]
fn every_route_is_in_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/http.md");
    let text = std::fs::read_to_string(&path).expect("docs/reference/http.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("the begin mark");
    let (_, after) = rest.split_once(END).expect("the end mark");
    let mut table = String::from("\n| path | methods | right | answers |\n|---|---|---|---|\n");
    for route in ROUTES {
        let methods = route.methods.iter().map(|m| m.as_str()).collect::<Vec<_>>().join(", ");
        writeln!(table, "| `{}` | {methods} | {} | {} |", route.path, route.right.as_str(), route.about)
            .expect("text takes all");
    }
    table.push('\n');
    let current = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("VEDETTE_UPDATE").is_some() {
        std::fs::write(&path, &current).expect("writes");
    } else {
        assert!(
            text == current,
            "docs/reference/http.md is stale; run VEDETTE_UPDATE=1 cargo test -p vedette-api"
        );
    }
}

#[test]
fn no_route_hides_another() {
    for (i, route) in ROUTES.iter().enumerate() {
        let is_literal = !route.path.contains('{');
        assert!(ROUTES[..i].iter().all(|earlier| earlier.path != route.path), "{} stands twice", route.path);
        if is_literal {
            let taken = super::super::routes::ROUTES.iter().position(|r| r.path == route.path);
            assert_eq!(taken, Some(i));
        }
    }
}
