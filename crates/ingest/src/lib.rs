//! `ingest`: see ARCHITECTURE.md.
