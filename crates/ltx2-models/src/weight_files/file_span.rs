//! A span of a file, read by several threads.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

/// Bytes per read call of one thread.
pub(super) const CHUNK: usize = 2 << 20;

/// A span of a file that begins at `offset`. Its length is that of the buffer it is read into.
#[derive(Clone, Copy)]
pub(super) struct FileSpan<'a> {
    pub(super) file: &'a File,
    /// Bytes from the beginning of the file.
    pub(super) offset: u64,
}

impl FileSpan<'_> {
    /// Fills `buffer`, chunk by chunk in parallel.
    pub(super) fn read(self, buffer: &mut [u8]) -> std::io::Result<()> {
        let chunks = buffer.par_chunks_mut(CHUNK).enumerate();
        chunks.try_for_each(|(index, chunk)| self.file.read_exact_at(chunk, self.offset + (index * CHUNK) as u64))
    }

    /// The span that begins `bytes` later.
    #[cfg(feature = "cuda")]
    pub(super) fn skip(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes as u64, ..self }
    }
}
