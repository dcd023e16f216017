//! Shared memory matrix descriptor of `wgmma`: 64 bits that encode the layout of an operand.
//!
//! Only the 128-byte swizzle is supported. Its unit, the swizzle atom, has 8 rows of 128 bytes; the 16-byte chunks of a
//! row are permuted by XOR with the row index. Rows extend along the contiguous dimension and hold 64 elements.

use crate::ptx::Major;

/// Bytes of a swizzle atom, which is also its alignment.
const ATOM: usize = 1024;
const ROW: usize = 128;
/// Elements of a row.
const WIDTH: usize = 64;

/// Fields of a descriptor, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    start: usize,
    leading: usize,
    stride: usize,
    major: Major,
}

impl Descriptor {
    /// Decodes the descriptor of a matrix with `length` x 16 elements, contiguous along `major`.
    pub(super) fn new(bits: u64, major: Major, length: usize) -> Result<Self, String> {
        let field = |at: u32| (bits >> at & 0x3fff) as usize * 16;
        let descriptor = Self { start: field(0), leading: field(16), stride: field(32), major };
        let wrong = |what: &str| Err(format!("unsupported matrix descriptor {bits:#018x}: {what}"));
        if bits >> 62 != 1 {
            return wrong("the layout is not the 128-byte swizzle");
        }
        let unused: u64 = !(0x3fff | 0x3fff << 16 | 0x3fff << 32 | 3 << 62);
        if bits & unused != 0 {
            return wrong("unsupported bits are set");
        }
        // The matrix starts in the first row of an atom; along K, a row holds four matrices.
        let within = descriptor.start % ATOM;
        if match major {
            Major::K => !within.is_multiple_of(32) || within >= ROW,
            Major::Mn => within != 0,
        } {
            return wrong("the start is inside an atom");
        }
        // The stride separates atoms across rows; the leading offset matters only if the matrix is wider than a row.
        let far = |bytes: usize| bytes > 0 && bytes.is_multiple_of(ATOM);
        let counts = major == Major::Mn && length > WIDTH;
        if !far(descriptor.stride) || (counts && !far(descriptor.leading)) {
            return wrong("an offset is not a positive multiple of the atom size");
        }
        Ok(descriptor)
    }

    /// Returns the byte offset of an element: `mn` in the dimension kept in the result, `k` in the reduced dimension.
    pub(super) fn offset(&self, mn: usize, k: usize) -> usize {
        let byte = match self.major {
            Major::K => self.start + mn / 8 * self.stride + mn % 8 * ROW + 2 * k,
            Major::Mn => self.start + mn / WIDTH * self.leading + k / 8 * self.stride + k % 8 * ROW + mn % WIDTH * 2,
        };
        byte ^ (byte / ROW % 8) << 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(start: u64, leading: u64, stride: u64) -> u64 {
        1 << 62 | (stride / 16) << 32 | (leading / 16) << 16 | (start / 16)
    }

    #[test]
    fn k_major_elements_are_located() {
        let matrix = Descriptor::new(bits(2048 + 32, 0, 4096), Major::K, 64).unwrap();
        // Element (0, 0) is at the start; (1, 0) is one row later, in chunk 2 ^ 1; (8, 0) is in the next atom.
        assert_eq!(matrix.offset(0, 0), 2080);
        assert_eq!(matrix.offset(1, 0), 2048 + 128 + (2 ^ 1) * 16);
        assert_eq!(matrix.offset(7, 9), 2048 + 7 * 128 + (3 ^ 7) * 16 + 2);
        assert_eq!(matrix.offset(8, 0), 2048 + 4096 + 32);
    }

    #[test]
    fn mn_major_elements_are_located() {
        let matrix = Descriptor::new(bits(1024, 8192, 2048), Major::Mn, 128).unwrap();
        assert_eq!(matrix.offset(1, 0), 1026);
        assert_eq!(matrix.offset(8, 3), 1024 + 3 * 128 + (1 ^ 3) * 16);
        assert_eq!(matrix.offset(0, 8), 1024 + 2048);
        assert_eq!(matrix.offset(64, 9), 1024 + 8192 + 2048 + 128 + 16);
    }

    #[test]
    fn unsupported_layouts_are_rejected() {
        for (bits, major, reason) in [
            (bits(0, 0, 1024) & !(1 << 62), Major::K, "layout"),
            (bits(0, 0, 1024) | 2 << 62, Major::K, "layout"),
            (bits(0, 0, 1024) | 1 << 49, Major::K, "bits"),
            (bits(16, 0, 1024), Major::K, "inside an atom"),
            (bits(128, 0, 1024), Major::K, "inside an atom"),
            (bits(32, 1024, 1024), Major::Mn, "inside an atom"),
            (bits(0, 0, 512), Major::K, "offset"),
            (bits(0, 0, 1024), Major::Mn, "offset"),
        ] {
            let error = Descriptor::new(bits, major, 128).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Descriptor::new(bits(0, 0, 1024), Major::Mn, 64).is_ok());
    }
}
