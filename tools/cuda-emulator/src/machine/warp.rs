//! Execution of a warp: 32 lanes, which may have diverged.

mod copies;
mod execute;
mod executor;
mod frame;
mod memory;
mod position;
mod products;
mod warpgroup;

use super::lanes::LANES;
use super::launch::Functions;
use super::memory::{POISON, WarpMemory};
use crate::ptx::Function;
use copies::AsyncCopies;
use executor::Executor;
use frame::{Frame, LaneGroup};
pub(super) use position::BlockPosition;
use products::PendingProducts;

/// A warp between barriers.
pub(super) struct Warp {
    number: usize,
    /// Mask of lanes that have a thread.
    all: u32,
    frame: Frame,
    copies: AsyncCopies,
}

impl Warp {
    pub(super) fn new(kernel: &Function, number: usize, threads: usize) -> Self {
        let count = (threads - number * LANES).min(LANES);
        let all = u32::MAX >> (LANES - count);
        Self { number, all, frame: Frame::new(kernel, all), copies: AsyncCopies::default() }
    }

    /// Restarts at the kernel's first instruction.
    pub(super) fn restart(&mut self) {
        self.frame.groups = vec![LaneGroup { pc: 0, lanes: self.all }];
        self.frame.waiting.clear();
        self.frame.local.fill(POISON);
        self.frame.products = PendingProducts::default();
        self.copies = AsyncCopies::default();
    }

    /// Resumes the lanes that wait at a barrier; returns `None` if there are none.
    pub(super) fn pass_barrier(&mut self) -> Option<()> {
        if self.frame.waiting.is_empty() {
            return None;
        }
        self.frame.groups.append(&mut self.frame.waiting);
        Some(())
    }

    /// Runs until every lane has exited or waits at a barrier.
    pub(super) fn run(
        &mut self,
        kernel: &Function,
        functions: &Functions,
        position: &BlockPosition,
        memory: &mut WarpMemory,
    ) -> Result<(), String> {
        let mut executor = Executor { number: self.number, functions, position, memory, copies: &mut self.copies };
        executor.run_frame(kernel, &mut self.frame)
    }
}
