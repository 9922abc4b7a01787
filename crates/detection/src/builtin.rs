//! The rules that come with Vedette: every file of `content/detections`, listed here.

use crate::rule::Detections;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../content/detections/", $name)))),*]
    };
}

/// File name and text of every rule that comes with Vedette.
pub const FILES: [(&str, &str); 3] = files!["drift-exec.md", "fileless-exec.md", "reverse-shell.md"];

/// The rules that come with Vedette.
pub fn builtin() -> Detections {
    Detections::load(FILES).expect("BUG: a test loads every built-in rule")
}
