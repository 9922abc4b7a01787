//! `promql`: see ARCHITECTURE.md.
