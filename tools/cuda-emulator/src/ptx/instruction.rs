//! Instructions, with their registers numbered and their targets known.

use super::{Slot, Source, Space, Type};

/// One instruction, done by the lanes for which its guard holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instruction {
    /// A predicate and whether it must be true.
    pub(crate) guard: Option<(Slot, bool)>,
    pub(crate) operation: Operation,
    /// Of the text.
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
    /// Addition and the like that take and leave the carry.
    Carry {
        function: Carry,
        kind: Type,
        takes: bool,
        leaves: bool,
        to: Slot,
        a: Source,
        b: Source,
        c: Source,
    },
    /// `setp`: the outcome, combined with a further predicate, and its negation.
    Compare {
        comparison: Comparison,
        kind: Type,
        with: Option<(Logic, Source)>,
        to: Slot,
        not: Option<Slot>,
        a: Source,
        b: Source,
    },
    /// `set`: the outcome as a number.
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
    /// Parts of `bits` each, the lowest first.
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
    /// `upper` is the second value of those that make a pair.
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
    /// To or from an address of any kind of memory.
    Address {
        space: Space,
        to_generic: bool,
        to: Slot,
        a: Source,
    },
    Branch(usize),
    /// Parameters by their numbers in the caller.
    Call {
        function: String,
        results: Vec<usize>,
        arguments: Vec<usize>,
    },
    Return,
    Trap,
    Barrier,
    Nothing,
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
    /// `mma.m16n8k16` of bfloat16 into float32.
    MatrixProduct {
        to: [Slot; 4],
        a: [Source; 4],
        b: [Source; 2],
        c: [Source; 4],
    },
    /// `ldmatrix`: 8x8 matrices of 16-bit values.
    LoadMatrix {
        to: Vec<Slot>,
        transposed: bool,
        base: Source,
        offset: i64,
    },
    /// `cp.async`, of which `bytes - present` become zero.
    CopyAsync {
        bytes: usize,
        to: (Source, i64),
        from: (Source, i64),
        present: Option<Source>,
    },
    CommitCopies,
    /// Until at most so many groups of copies are under way.
    AwaitCopies(usize),
    /// `fence.proxy.async`: what was written to shared memory may be read by a warpgroup's products.
    PublishShared,
    /// `wgmma.fence`: registers are as products will find them.
    FenceProducts,
    GroupProduct(Box<GroupProduct>),
    CommitProducts,
    /// Until at most so many groups of products are under way.
    AwaitProducts(usize),
}

/// `wgmma.m64nNk16` of bfloat16 into float32, by four warps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupProduct {
    /// Half as many as the product has columns.
    pub(crate) to: Vec<Slot>,
    pub(crate) a: GroupOperand,
    pub(crate) b: SharedMatrix,
    /// Whether what is in `to` is added.
    pub(crate) adds: Source,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupOperand {
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

/// Along which dimension a matrix's elements are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Major {
    /// The one that is summed over.
    K,
    /// The one that the product keeps.
    Mn,
}

/// What a matrix's elements are multiplied with.
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
    /// Whether a NaN wins over a number.
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
    Fused(Rounding),
    /// Bytes of `a` and `b` by the selector `c`.
    Permute,
    /// The bits of `a` from place `b` on, `c` of them.
    ExtractBits,
    /// The upper (or, to the right, lower) half of `b` and `a` as one number, shifted by `c`.
    FunnelLeft {
        wraps: bool,
    },
    FunnelRight {
        wraps: bool,
    },
    /// Bits of `a` put into `b`, from the place in the lower half of `c` on and as many as its upper half says.
    InsertBits,
    /// Four products of signed bytes, added to `c`.
    DotBytes,
    /// Any function of three bits, by its table of 8.
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
    /// As the others, or one is NaN.
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

/// Of a float's last bit, or to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
    /// To an integer, the even one of two.
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
