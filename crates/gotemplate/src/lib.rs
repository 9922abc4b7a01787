//! `gotemplate`: see ARCHITECTURE.md.
