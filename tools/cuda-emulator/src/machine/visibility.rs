//! Visibility of shared memory to `wgmma`, which reads it through the async proxy. Written memory must be published by
//! the writing warp (`fence.proxy.async`), followed by a barrier, before it is read; and it may be overwritten only
//! after the products that read it were waited for.

/// Granularity of tracking, in bytes.
pub(super) const CHUNK: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Visible,
    /// An asynchronous copy to it is pending.
    CopyPending,
    /// Written by a warp, not published.
    Written(usize),
    Published,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    state: State,
    /// Number of pending products that read it.
    readers: u32,
}

/// State of a block's dynamic shared memory, by chunk; empty if the kernel does not use `wgmma`.
pub(super) struct Visibility {
    chunks: Vec<Chunk>,
}

impl Visibility {
    pub(super) fn new(bytes: usize) -> Self {
        Self { chunks: vec![Chunk { state: State::Visible, readers: 0 }; bytes.div_ceil(CHUNK)] }
    }

    pub(super) fn reset(&mut self) {
        self.chunks.fill(Chunk { state: State::Visible, readers: 0 });
    }

    fn set_state(&mut self, at: usize, bytes: usize, state: State) -> Result<(), String> {
        let end = (at + bytes).div_ceil(CHUNK).min(self.chunks.len());
        for chunk in self.chunks.get_mut(at / CHUNK..end).unwrap_or_default() {
            if chunk.readers > 0 {
                return Err(format!(
                    "{bytes} bytes of shared memory at {at:#x} are written while a pending wgmma reads them"
                ));
            }
            chunk.state = state;
        }
        Ok(())
    }

    /// Records the start of an asynchronous copy to `bytes` bytes at `at`.
    pub(super) fn begin_copy(&mut self, at: usize, bytes: usize) -> Result<(), String> {
        self.set_state(at, bytes, State::CopyPending)
    }

    /// Records a write of `bytes` bytes at `at` by `warp`.
    pub(super) fn write(&mut self, at: usize, bytes: usize, warp: usize) -> Result<(), String> {
        self.set_state(at, bytes, State::Written(warp))
    }

    /// Publishes the writes of `warp`, which become visible at the next barrier.
    pub(super) fn publish(&mut self, warp: usize) {
        self.chunks
            .iter_mut()
            .filter(|chunk| chunk.state == State::Written(warp))
            .for_each(|chunk| chunk.state = State::Published);
    }

    pub(super) fn pass_barrier(&mut self) {
        self.chunks
            .iter_mut()
            .filter(|chunk| chunk.state == State::Published)
            .for_each(|chunk| chunk.state = State::Visible);
    }

    /// Records that a product starts to read the chunk at byte `at`.
    pub(super) fn read(&mut self, at: usize) -> Result<(), String> {
        let Some(chunk) = self.chunks.get_mut(at / CHUNK) else {
            return Err(format!("wgmma reads shared memory at {at:#x}, which is out of bounds"));
        };
        chunk.readers += 1;
        let why = match chunk.state {
            State::Visible => return Ok(()),
            State::CopyPending => "to which a copy is pending",
            State::Written(_) => "which was written without a subsequent fence.proxy.async",
            State::Published => "which was published without a subsequent barrier",
        };
        Err(format!("wgmma reads shared memory at {at:#x}, {why}"))
    }

    /// Records that a product which read the chunk at byte `at` is complete.
    pub(super) fn release(&mut self, at: usize) {
        self.chunks[at / CHUNK].readers -= 1;
    }
}
