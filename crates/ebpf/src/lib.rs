//! `ebpf`: see ARCHITECTURE.md.
