//! Decoded instructions, with numbered registers and resolved branch targets.

use super::{Slot, Source, Space, Type};

/// An instruction, executed by the lanes whose guard holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instruction {
    /// Predicate register, and the value that it must have.
    pub(crate) guard: Option<(Slot, bool)>,
    pub(crate) operation: Operation,
    /// Source line.
    pub(crate) line: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Unary {
        function: Unary,
        kind: Type,
        to: Slot,
        a: Source,
    },
    Binary {
        function: Binary,
        kind: Type,
        to: Slot,
        a: Source,
        b: Source,
    },
    Ternary {
        function: Ternary,
        kind: Type,
        to: Slot,
        a: Source,
        b: Source,
        c: Source,
    },
    /// Addition, subtraction or multiply-add that reads or writes the carry flag.
    Carry {
        function: Carry,
        kind: Type,
        carry_in: bool,
        carry_out: bool,
        to: Slot,
        a: Source,
        b: Source,
        c: Source,
    },
    /// `setp`: the result, optionally combined with another predicate, and its negation.
    Compare {
        comparison: Comparison,
        kind: Type,
        with: Option<(Logic, Source)>,
        to: Slot,
        not: Option<Slot>,
        a: Source,
        b: Source,
    },
    /// `set`: the result as a value of type `result`.
    Set {
        comparison: Comparison,
        result: Type,
        kind: Type,
        to: Slot,
        a: Source,
        b: Source,
    },
    Select {
        to: Slot,
        a: Source,
        b: Source,
        predicate: Source,
    },
    /// Concatenates parts of `bits` each, lowest first.
    Pack {
        bits: u32,
        to: Slot,
        parts: Vec<Source>,
    },
    Unpack {
        bits: u32,
        to: Vec<Option<Slot>>,
        a: Source,
    },
    /// `cvt`. `upper` is the second input of conversions to packed pairs.
    Convert {
        result: Type,
        kind: Type,
        rounding: Rounding,
        saturate: bool,
        to: Slot,
        a: Source,
        upper: Option<Source>,
    },
    Load {
        space: Space,
        kind: Type,
        to: Vec<Slot>,
        base: Source,
        offset: i64,
    },
    Store {
        space: Space,
        kind: Type,
        values: Vec<Source>,
        base: Source,
        offset: i64,
    },
    Atomic {
        space: Space,
        function: Atomic,
        kind: Type,
        to: Option<Slot>,
        base: Source,
        offset: i64,
        a: Source,
        b: Source,
    },
    /// `cvta`: converts between a state space's addresses and generic addresses.
    ConvertAddress {
        space: Space,
        to_generic: bool,
        to: Slot,
        a: Source,
    },
    Branch(usize),
    /// Arguments and results are indices into the caller's `parameters`.
    Call {
        function: String,
        results: Vec<usize>,
        arguments: Vec<usize>,
    },
    Return,
    Trap,
    Barrier,
    Nop,
    Shuffle {
        mode: Shuffle,
        to: Slot,
        in_range: Option<Slot>,
        a: Source,
        lane: Source,
        clamp: Source,
        members: Source,
    },
    Vote {
        mode: Vote,
        to: Slot,
        a: Source,
        members: Source,
    },
    /// `mma.m16n8k16` with bfloat16 inputs and float32 accumulators.
    Mma {
        to: [Slot; 4],
        a: [Source; 4],
        b: [Source; 2],
        c: [Source; 4],
    },
    /// `ldmatrix`: 8x8 matrices of 16-bit elements.
    LoadMatrix {
        to: Vec<Slot>,
        transposed: bool,
        base: Source,
        offset: i64,
    },
    /// `cp.async`; the last `bytes - present` bytes are zero-filled.
    CopyAsync {
        bytes: usize,
        to: (Source, i64),
        from: (Source, i64),
        present: Option<Source>,
    },
    CommitCopies,
    /// `cp.async.wait_group`: waits until at most this many groups of copies are pending.
    WaitCopies(usize),
    /// `fence.proxy.async`: makes writes to shared memory visible to `wgmma`.
    ProxyFence,
    /// `wgmma.fence`: orders register accesses before `wgmma`.
    WgmmaFence,
    Wgmma(Box<WarpgroupMma>),
    WgmmaCommit,
    /// `wgmma.wait_group`: waits until at most this many groups of products are pending.
    WgmmaWait(usize),
}

/// `wgmma.m64nNk16` with bfloat16 inputs and float32 accumulators, executed by four warps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WarpgroupMma {
    /// Accumulator registers: N / 2 per thread.
    pub(crate) to: Vec<Slot>,
    pub(crate) a: WarpgroupOperand,
    pub(crate) b: SharedMatrix,
    /// Whether the product is added to the accumulators (scale-d).
    pub(crate) accumulate: Source,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WarpgroupOperand {
    Registers { slots: [Slot; 4], sign: Sign },
    Shared(SharedMatrix),
}

/// A matrix in shared memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SharedMatrix {
    pub(crate) descriptor: Source,
    pub(crate) major: Major,
    pub(crate) sign: Sign,
}

/// Dimension along which a matrix is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Major {
    /// The reduced dimension.
    K,
    /// The dimension kept in the result.
    Mn,
}

/// Scale of a matrix's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Move,
    Not,
    Negate,
    Absolute,
    Reciprocal,
    SquareRoot,
    ReciprocalSquareRoot,
    Exp2,
    Log2,
    Sine,
    Cosine,
    Tanh,
    CountOnes,
    LeadingZeros,
    ReverseBits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add(Rounding),
    Subtract(Rounding),
    MultiplyLow(Rounding),
    MultiplyHigh,
    MultiplyWide,
    Divide,
    Remainder,
    /// `nan`: whether a NaN operand makes the result NaN.
    Minimum {
        nan: bool,
    },
    Maximum {
        nan: bool,
    },
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
    CopySign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ternary {
    MultiplyAddLow,
    MultiplyAddHigh,
    MultiplyAddWide,
    FusedMultiplyAdd(Rounding),
    /// `prmt`: selects bytes of `a` and `b` by the selector `c`.
    Permute,
    /// `bfe`: extracts `c` bits of `a` from position `b`.
    ExtractBits,
    /// `shf`: shifts the 64-bit value `b:a` by `c` and returns its upper (left) or lower (right) half.
    FunnelLeft {
        wraps: bool,
    },
    FunnelRight {
        wraps: bool,
    },
    /// `bfi`: inserts bits of `a` into `b`; position in the lower half of `c`, length in the upper half.
    InsertBits,
    /// `dp4a`: dot product of four signed bytes, added to `c`.
    DotBytes,
    /// `lop3`: any function of three bits, by its truth table.
    Lookup(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carry {
    Add,
    Subtract,
    MultiplyAddLow,
    MultiplyAddHigh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Unordered comparisons: also true if an operand is NaN.
    EqualOrNan,
    NotEqualOrNan,
    LessOrNan,
    LessOrEqualOrNan,
    GreaterOrNan,
    GreaterOrEqualOrNan,
    BothNumbers,
    AnyNan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// Rounding mode: to a float, or to an integral value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
    /// To the nearest integral value, ties to even.
    IntegerNearest,
    IntegerZero,
    IntegerDown,
    IntegerUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomic {
    Add,
    Minimum,
    Maximum,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Butterfly,
    Up,
    Down,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    Any,
    All,
    Ballot,
}
