//! CRC-32C (Castagnoli), with which every part of a Prometheus block is sealed.

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// `TABLES[n][b]`: what byte `b` adds to the checksum when `n` bytes follow it, so that eight
/// bytes are taken at once.
static TABLES: [[u32; 256]; 8] = tables();

/// A checksum over bytes that come in pieces.
#[derive(Debug, Clone, Copy)]
pub struct Crc32c(u32);

impl Crc32c {
    /// The checksum of nothing yet.
    pub fn new() -> Self {
        Self(!0)
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
            crc = 0;
            for (i, byte) in word.to_le_bytes().into_iter().enumerate() {
                crc ^= TABLES[7 - i][byte as usize];
            }
        }
        for byte in rest {
            crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
        self.0 = crc;
    }

    /// The checksum.
    pub fn finish(self) -> u32 {
        !self.0
    }
}

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(bytes);
    crc.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_checksums() {
        // RFC 3720, section B.4.
        for (bytes, expected) in [
            (vec![0u8; 32], 0x8a91_36aa),
            (vec![0xff; 32], 0x62a8_ab43),
            ((0..32).collect(), 0x46dd_794e),
            ((0..32).rev().collect(), 0x113f_db5c),
            (b"123456789".to_vec(), 0xe306_9283),
            (Vec::new(), 0),
        ] {
            assert_eq!(crc32c(&bytes), expected);
            let mut pieces = Crc32c::new();
            bytes.chunks(3).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), expected);
        }
    }
}
