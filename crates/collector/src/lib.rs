//! `collector`: see ARCHITECTURE.md.
