//! Where a matrix that a warpgroup multiplies lies in shared memory: the 64 bits that say so.
//!
//! Only the 128-byte swizzle is known. Its unit, the atom, is 8 rows of 128 bytes; of each row the 16-byte pieces are in the
//! order of their number xor the row's. Rows go along the dimension in which elements are neighbours: 64 elements.

use crate::ptx::Major;

/// Bytes of an atom, which begin at multiples of it.
const ATOM: usize = 1024;
const ROW: usize = 128;
/// Elements of a row.
const WIDTH: usize = 64;

/// A descriptor's fields, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    start: usize,
    leading: usize,
    stride: usize,
    major: Major,
}

impl Descriptor {
    /// What `bits` say of a matrix of `length` by 16 elements, which `major` says the neighbours of.
    pub(super) fn new(bits: u64, major: Major, length: usize) -> Result<Self, String> {
        let field = |at: u32| (bits >> at & 0x3fff) as usize * 16;
        let descriptor = Self { start: field(0), leading: field(16), stride: field(32), major };
        let wrong = |what: &str| Err(format!("the descriptor {bits:#018x} {what}"));
        if bits >> 62 != 1 {
            return wrong("has another layout than the 128-byte swizzle, which is not emulated");
        }
        let unused: u64 = !(0x3fff | 0x3fff << 16 | 0x3fff << 32 | 3 << 62);
        if bits & unused != 0 {
            return wrong("has bits that are not emulated");
        }
        // The first element's row has to be an atom's first one; along K a row has four matrices.
        let within = descriptor.start % ATOM;
        if match major {
            Major::K => !within.is_multiple_of(32) || within >= ROW,
            Major::Mn => within != 0,
        } {
            return wrong("begins inside of an atom");
        }
        // The stride goes from one atom to the next of those along the rows; the other one counts only where rows end.
        let far = |bytes: usize| bytes > 0 && bytes.is_multiple_of(ATOM);
        let counts = major == Major::Mn && length > WIDTH;
        if !far(descriptor.stride) || (counts && !far(descriptor.leading)) {
            return wrong("has a distance that is no multiple of an atom's size");
        }
        Ok(descriptor)
    }

    /// The byte at which an element is: number `mn` of the dimension that the product keeps, `k` of the one summed over.
    pub(super) fn place(&self, mn: usize, k: usize) -> usize {
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
    fn rows_along_the_sum_are_found() {
        let matrix = Descriptor::new(bits(2048 + 32, 0, 4096), Major::K, 64).unwrap();
        // Element (0, 0) is the start; (1, 0) is a row later and there in piece 2 ^ 1; (8, 0) is in the next atom.
        assert_eq!(matrix.place(0, 0), 2080);
        assert_eq!(matrix.place(1, 0), 2048 + 128 + (2 ^ 1) * 16);
        assert_eq!(matrix.place(7, 9), 2048 + 7 * 128 + (3 ^ 7) * 16 + 2);
        assert_eq!(matrix.place(8, 0), 2048 + 4096 + 32);
    }

    #[test]
    fn rows_across_the_sum_are_found() {
        let matrix = Descriptor::new(bits(1024, 8192, 2048), Major::Mn, 128).unwrap();
        assert_eq!(matrix.place(1, 0), 1026);
        assert_eq!(matrix.place(8, 3), 1024 + 3 * 128 + (1 ^ 3) * 16);
        assert_eq!(matrix.place(0, 8), 1024 + 2048);
        assert_eq!(matrix.place(64, 9), 1024 + 8192 + 2048 + 128 + 16);
    }

    #[test]
    fn what_the_hardware_reads_otherwise_is_refused() {
        for (bits, major, reason) in [
            (bits(0, 0, 1024) & !(1 << 62), Major::K, "layout"),
            (bits(0, 0, 1024) | 2 << 62, Major::K, "layout"),
            (bits(0, 0, 1024) | 1 << 49, Major::K, "bits"),
            (bits(16, 0, 1024), Major::K, "inside"),
            (bits(128, 0, 1024), Major::K, "inside"),
            (bits(32, 1024, 1024), Major::Mn, "inside"),
            (bits(0, 0, 512), Major::K, "distance"),
            (bits(0, 0, 1024), Major::Mn, "distance"),
        ] {
            let error = Descriptor::new(bits, major, 128).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Descriptor::new(bits(0, 0, 1024), Major::Mn, 64).is_ok());
    }
}
