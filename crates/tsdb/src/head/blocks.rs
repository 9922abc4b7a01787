//! Memory for many byte streams that grow a few bytes at a time: blocks of 32 bytes, chained.
//!
//! All series grow alike, as their spans begin together. With buffers of several sizes each size
//! would stay reserved while all streams have moved on to the next; blocks of one size are used
//! again at once, and a stream wastes half a block. Invariant: a block belongs to one stream or
//! to the free list.

const BLOCK_BYTES: usize = 32;
/// Blocks are got from the allocator in pages of this many.
const PAGE_BLOCKS: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 10;
const NONE: u32 = u32::MAX;

/// A stream: its first and last block, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    first: u32,
    last: u32,
    bytes: u32,
}

/// Blocks of all streams of a shard.
#[derive(Debug)]
pub struct Blocks {
    pages: Vec<Page>,
    /// Chained by `next`.
    free: u32,
    /// Blocks in streams.
    used: usize,
    /// Blocks given out at least once.
    begun: u32,
}

#[derive(Debug)]
struct Page {
    next: Box<[u32; PAGE_BLOCKS]>,
    blocks: Box<[[u8; BLOCK_BYTES]; PAGE_BLOCKS]>,
}

impl Page {
    fn new() -> Self {
        // Made where they stay, and not copied there.
        let (next, blocks) = (vec![NONE; PAGE_BLOCKS], vec![[0; BLOCK_BYTES]; PAGE_BLOCKS]);
        let (next, blocks) = (next.into_boxed_slice().try_into(), blocks.into_boxed_slice().try_into());
        Self { next: next.expect("BUG: made of this length"), blocks: blocks.expect("BUG: and this") }
    }
}

impl Stream {
    /// A stream without a byte.
    pub const EMPTY: Self = Self { first: NONE, last: NONE, bytes: 0 };

    pub fn is_empty(self) -> bool {
        self.bytes == 0
    }

    pub fn len(self) -> usize {
        self.bytes as usize
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self { pages: Vec::new(), free: NONE, used: 0, begun: 0 }
    }
}

impl Blocks {
    /// Appends to a stream.
    pub fn push(&mut self, stream: &mut Stream, mut bytes: &[u8]) {
        loop {
            let at = stream.bytes as usize % BLOCK_BYTES;
            if at == 0 && !bytes.is_empty() {
                self.lengthen(stream);
            }
            let taken = bytes.len().min(BLOCK_BYTES - at);
            if taken == 0 {
                return;
            }
            self.block_mut(stream.last)[at..at + taken].copy_from_slice(&bytes[..taken]);
            stream.bytes += taken as u32;
            bytes = &bytes[taken..];
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// Appends the first `length` of some bytes, of which there are eight at least.
    pub fn push_short(&mut self, stream: &mut Stream, bytes: &[u8], length: usize) {
        let at = stream.bytes as usize % BLOCK_BYTES;
        if at != 0
            && length <= 8
            && let Some(eight) = bytes.first_chunk::<8>()
            && let Some(place) = self.block_mut(stream.last)[at..].first_chunk_mut::<8>()
        {
            // Cheaper than copying as many as there are; what is too much is overwritten next.
            *place = *eight;
            stream.bytes += length as u32;
            return;
        }
        self.push(stream, &bytes[..length]);
    }

    /// The last byte of a stream.
    pub fn last_byte(&mut self, stream: Stream) -> Option<&mut u8> {
        let at = (stream.bytes as usize).checked_sub(1)? % BLOCK_BYTES;
        Some(&mut self.block_mut(stream.last)[at])
    }

    /// A byte of the last block of a stream, for what reading it brings near.
    pub fn peek_last(&self, stream: Stream) -> u8 {
        if stream.is_empty() { 0 } else { self.block(stream.last)[0] }
    }

    /// The first block of a stream.
    pub fn first_block(&self, stream: Stream) -> Option<&[u8; BLOCK_BYTES]> {
        (!stream.is_empty()).then(|| self.block(stream.first))
    }

    /// Appends the first bytes of a stream, at most `bytes`, to `out`.
    pub fn copy(&self, stream: Stream, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + stream.len().min(bytes);
        out.reserve(end - out.len() + BLOCK_BYTES);
        let mut block = stream.first;
        // Whole blocks are cheaper than as much as there is; what is too much goes at the end.
        while out.len() < end {
            out.extend_from_slice(self.block(block));
            block = self.next(block);
        }
        out.truncate(end);
    }

    /// Gives the memory of a stream back, and leaves it empty.
    pub fn free(&mut self, stream: &mut Stream) {
        if stream.is_empty() {
            return;
        }
        *self.next_mut(stream.last) = self.free;
        self.free = stream.first;
        self.used -= stream.len().div_ceil(BLOCK_BYTES);
        *stream = Stream::EMPTY;
    }

    /// Memory got from the allocator.
    pub fn heap_bytes(&self) -> usize {
        self.pages.len() * (size_of::<Page>() + PAGE_BLOCKS * (BLOCK_BYTES + size_of::<u32>()))
    }

    /// Memory of streams.
    pub fn used_bytes(&self) -> usize {
        self.used * (BLOCK_BYTES + 4)
    }

    fn lengthen(&mut self, stream: &mut Stream) {
        let block = self.take();
        if stream.is_empty() {
            stream.first = block;
        } else {
            *self.next_mut(stream.last) = block;
        }
        stream.last = block;
    }

    fn take(&mut self) -> u32 {
        self.used += 1;
        if self.free != NONE {
            let block = self.free;
            self.free = self.next(block);
            return block;
        }
        let block = self.begun;
        self.begun += 1;
        if block as usize >> PAGE_BITS == self.pages.len() {
            self.pages.push(Page::new());
        }
        block
    }

    fn block(&self, block: u32) -> &[u8; BLOCK_BYTES] {
        &self.pages[block as usize >> PAGE_BITS].blocks[block as usize % PAGE_BLOCKS]
    }

    fn block_mut(&mut self, block: u32) -> &mut [u8; BLOCK_BYTES] {
        &mut self.pages[block as usize >> PAGE_BITS].blocks[block as usize % PAGE_BLOCKS]
    }

    fn next(&self, block: u32) -> u32 {
        self.pages[block as usize >> PAGE_BITS].next[block as usize % PAGE_BLOCKS]
    }

    fn next_mut(&mut self, block: u32) -> &mut u32 {
        &mut self.pages[block as usize >> PAGE_BITS].next[block as usize % PAGE_BLOCKS]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn streams_equal_vectors_and_memory_is_used_again(
            steps in proptest::collection::vec(
                (0usize..6, prop_oneof![9 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Some), 1 => Just(None)]),
                1..300),
        ) {
            let mut blocks = Blocks::default();
            let mut streams = [Stream::EMPTY; 6];
            let mut model = vec![Vec::new(); 6];
            for (n, bytes) in steps {
                match bytes {
                    Some(bytes) => {
                        blocks.push(&mut streams[n], &bytes);
                        model[n].extend_from_slice(&bytes);
                    }
                    None => {
                        blocks.free(&mut streams[n]);
                        model[n].clear();
                    }
                }
            }
            for (stream, model) in streams.iter_mut().zip(&model) {
                let mut out = Vec::new();
                blocks.copy(*stream, usize::MAX, &mut out);
                prop_assert_eq!(&out, model);
                prop_assert_eq!(blocks.last_byte(*stream).copied(), model.last().copied());
                blocks.free(stream);
            }
            prop_assert_eq!(blocks.used, 0);
            let begun = blocks.begun;
            for stream in &mut streams {
                blocks.push(stream, &vec![1; begun as usize / 6 * BLOCK_BYTES]);
            }
            prop_assert_eq!(blocks.begun, begun);
        }
    }
}
