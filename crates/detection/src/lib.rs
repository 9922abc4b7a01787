//! `detection`: see ARCHITECTURE.md.
