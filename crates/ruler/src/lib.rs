//! `ruler`: see ARCHITECTURE.md.
