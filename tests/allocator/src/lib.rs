//! The system's allocator, adding up what is in use, for tests of what something takes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// To be the global allocator of a test program, in which nothing else runs meanwhile.
#[derive(Debug)]
pub struct Counting {
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    /// Nothing is in use yet.
    #[expect(clippy::new_without_default, reason = "it stands in a static, which no default can make")]
    pub const fn new() -> Self {
        Self { used: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Most bytes in use since [`Self::begin`].
    pub fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// Begins to look for a new peak. Gives the bytes in use.
    pub fn begin(&self) -> usize {
        let used = self.used();
        self.peak.store(used, Relaxed);
        used
    }
}

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: every call is passed on unchanged to the system's allocator; counting touches two numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.peak.fetch_max(self.used.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`; `place` came from `System`.
        unsafe { System.dealloc(place, layout) }
    }
}
