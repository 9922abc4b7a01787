//! `tsdb`: see ARCHITECTURE.md.
