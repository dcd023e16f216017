//! What a warpgroup's products see of shared memory. They read it by another way than threads write it: what was written has to
//! be published by the warp that wrote it (`fence.proxy.async`), then a barrier passed; and it may only be written anew when the
//! products that read it were waited for.

/// Bytes that are watched together.
pub(super) const PIECE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Visible,
    /// A copy to it was begun and not yet waited for.
    UnderWay,
    /// By a warp.
    Written(usize),
    Published,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    state: State,
    /// Products under way that read it.
    readers: u32,
}

/// The pieces of a block's dynamic memory; none if its kernel has no such products.
pub(super) struct Visibility {
    pieces: Vec<Piece>,
}

impl Visibility {
    pub(super) fn new(bytes: usize) -> Self {
        Self { pieces: vec![Piece { state: State::Visible, readers: 0 }; bytes.div_ceil(PIECE)] }
    }

    pub(super) fn forget(&mut self) {
        self.pieces.fill(Piece { state: State::Visible, readers: 0 });
    }

    fn change(&mut self, at: usize, bytes: usize, state: State) -> Result<(), String> {
        let end = (at + bytes).div_ceil(PIECE).min(self.pieces.len());
        for piece in self.pieces.get_mut(at / PIECE..end).unwrap_or_default() {
            if piece.readers > 0 {
                return Err(format!("{bytes} bytes at {at:#x} of shared memory are written, but a product reads them"));
            }
            piece.state = state;
        }
        Ok(())
    }

    /// A copy to `bytes` from `at` on is begun.
    pub(super) fn begin(&mut self, at: usize, bytes: usize) -> Result<(), String> {
        self.change(at, bytes, State::UnderWay)
    }

    /// `warp` writes `bytes` from `at` on.
    pub(super) fn write(&mut self, at: usize, bytes: usize, warp: usize) -> Result<(), String> {
        self.change(at, bytes, State::Written(warp))
    }

    /// What `warp` wrote will be visible behind the next barrier.
    pub(super) fn publish(&mut self, warp: usize) {
        self.pieces
            .iter_mut()
            .filter(|piece| piece.state == State::Written(warp))
            .for_each(|piece| piece.state = State::Published);
    }

    pub(super) fn pass_barrier(&mut self) {
        self.pieces
            .iter_mut()
            .filter(|piece| piece.state == State::Published)
            .for_each(|piece| piece.state = State::Visible);
    }

    /// A product begins to read the piece at byte `at`.
    pub(super) fn read(&mut self, at: usize) -> Result<(), String> {
        let Some(piece) = self.pieces.get_mut(at / PIECE) else {
            return Err(format!("a product reads at {at:#x} of shared memory, where nothing is"));
        };
        piece.readers += 1;
        let why = match piece.state {
            State::Visible => return Ok(()),
            State::UnderWay => "to which a copy is under way",
            State::Written(_) => "which was written without fence.proxy.async behind it",
            State::Published => "which was published without a barrier behind it",
        };
        Err(format!("a product reads at {at:#x} of shared memory, {why}"))
    }

    /// A product that read the piece at byte `at` was waited for.
    pub(super) fn release(&mut self, at: usize) {
        self.pieces[at / PIECE].readers -= 1;
    }
}
