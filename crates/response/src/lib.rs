//! `response`: see ARCHITECTURE.md.
