//! Execution of a grid's blocks. The warps of a block run one after the other from barrier to barrier.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::lanes::LANES;
use super::launch::{Functions, Launch};
use super::memory::{SharedMemory, WarpMemory};
use super::warp::{BlockPosition, Warp};
use crate::ptx::{Function, Instruction, Operation};

/// Number of CUDA threads per host thread below which another host thread is not worth starting.
const THREADS_PER_WORKER: u64 = 4096;

/// Executes all blocks, in parallel on the host's cores.
pub(super) fn run(kernel: &Function, functions: &Functions, launch: &Launch) -> Result<(), String> {
    let blocks: u64 = launch.grid.iter().map(|count| u64::from(*count)).product();
    let threads: u64 = launch.block.iter().map(|count| u64::from(*count)).product();
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let workers = cores.min(blocks).min((blocks * threads).div_ceil(THREADS_PER_WORKER));
    let (next, has_failed, failure) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    let work = || {
        let mut block = Block::new(kernel, functions, launch);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= blocks || has_failed.load(Ordering::Relaxed) {
                return;
            }
            if let Err(reason) = block.run(number) {
                has_failed.store(true, Ordering::Relaxed);
                failure.lock().expect("no holder panics").get_or_insert(reason);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().expect("no holder panics").map_or(Ok(()), Err)
}

struct Block<'a> {
    kernel: &'a Function,
    functions: &'a Functions,
    launch: &'a Launch<'a>,
    shared: SharedMemory,
    warps: Vec<Warp>,
}

impl<'a> Block<'a> {
    fn new(kernel: &'a Function, functions: &'a Functions, launch: &'a Launch<'a>) -> Self {
        let threads = launch.block.iter().product::<u32>() as usize;
        let warps = (0..threads.div_ceil(LANES)).map(|number| Warp::new(kernel, number, threads)).collect();
        let multiplies = |instruction: &Instruction| matches!(instruction.operation, Operation::Wgmma(_));
        let warpgroups = if kernel.instructions.iter().any(multiplies) { threads.div_ceil(4 * LANES) } else { 0 };
        Self {
            kernel,
            functions,
            launch,
            shared: SharedMemory::new(kernel.shared, launch.shared as usize, warpgroups),
            warps,
        }
    }

    fn run(&mut self, number: u64) -> Result<(), String> {
        let [x, y, _] = self.launch.grid.map(u64::from);
        let at = [number % x, number / x % y, number / x / y].map(|index| index as u32);
        let position = BlockPosition { block_index: at, grid_size: self.launch.grid, block_size: self.launch.block };
        self.shared.reset();
        self.warps.iter_mut().for_each(Warp::restart);
        let locate = |reason| format!("{} in block {at:?} of {:?}: {reason}", self.kernel.name, self.launch.grid);
        loop {
            for warp in &mut self.warps {
                let mut memory = WarpMemory::new(&mut self.shared, self.launch.memory, self.launch.params);
                warp.run(self.kernel, self.functions, &position, &mut memory).map_err(locate)?;
            }
            self.shared.pass_barrier().map_err(locate)?;
            // Lanes that have exited do not take part in barriers.
            if self.warps.iter_mut().filter_map(Warp::pass_barrier).count() == 0 {
                return Ok(());
            }
        }
    }
}
