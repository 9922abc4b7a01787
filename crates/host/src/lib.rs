//! `host`: see ARCHITECTURE.md.
