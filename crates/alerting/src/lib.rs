//! `alerting`: see ARCHITECTURE.md.
