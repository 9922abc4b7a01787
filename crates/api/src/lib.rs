//! `api`: see ARCHITECTURE.md.
