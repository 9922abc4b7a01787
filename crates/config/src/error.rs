//! What is wrong with a file, and where.

/// A configuration file that cannot be used. Every error names the file and, where something in
/// it is wrong, line, column and key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{file}:{line}:{column}: {}{reason}", key_text(.key))]
    Value {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The way to the key, such as `scrape_configs[2].tls_config.ca_file`; may be empty.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

fn key_text(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}
