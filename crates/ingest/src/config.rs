//! Limits on what senders may hand in.

/// Limits on what senders may hand in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Labels of one series, the metric name included.
    pub labels_max: usize,
    /// Bytes of one label name.
    pub label_name_bytes_max: usize,
    /// Bytes of one label value.
    pub label_value_bytes_max: usize,
    /// Series numbers of one sender: numbers must be below this.
    pub series_max: u32,
    /// Bytes of text in one event.
    pub event_bytes_max: usize,
    /// How far an event's time may lie in the future.
    pub event_future_ns_max: i64,
    /// Senders remembered; the one that was silent for longest is forgotten, and asked to
    /// define its series again when it comes back.
    pub origins_max: usize,
    /// How long a series for which the store had no room is refused before it is tried again.
    pub series_retry_ms: i64,
    /// Bytes of a remote-write request after its compression is undone.
    pub message_bytes_max: usize,
    /// Series of remote-write senders that are found without parsing their labels; one takes
    /// about 20 bytes.
    pub known_series_max: usize,
    /// Whether a pushed number that tells since when it counts is preceded by a zero at that time, where
    /// its series has nothing later.
    pub zeros_at_start: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            labels_max: 64,
            label_name_bytes_max: 1_024,
            label_value_bytes_max: 8_192,
            series_max: 1 << 22,
            event_bytes_max: 256 << 10,
            event_future_ns_max: 600 * 1_000_000_000,
            origins_max: 1_024,
            series_retry_ms: 60_000,
            message_bytes_max: 64 << 20,
            known_series_max: 2 << 20,
            zeros_at_start: false,
        }
    }
}
