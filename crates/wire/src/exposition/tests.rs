//! Both ways: what is written is read back; what Prometheus takes is taken, the rest is refused.

mod protobuf;
mod texts;
