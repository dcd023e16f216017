//! Position of a block.

/// Position of a block in its grid, and the launch's sizes.
#[derive(Debug, Clone, Copy)]
pub(in crate::machine) struct BlockPosition {
    pub(in crate::machine) block_index: [u32; 3],
    pub(in crate::machine) grid_size: [u32; 3],
    pub(in crate::machine) block_size: [u32; 3],
}
