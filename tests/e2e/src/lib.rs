//! End-to-end tests of the running program against real parts.
