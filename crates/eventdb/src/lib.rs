//! `eventdb`: see ARCHITECTURE.md.
