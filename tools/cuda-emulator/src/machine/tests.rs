//! Small kernels, one per feature of the interpreter.

mod warpgroup;

use std::sync::Arc;

use super::*;
use crate::memory::Ranges;

/// Runs the kernel body `body`. The kernel's arguments are the addresses of `buffers`, followed by `scalars`.
fn run<T: Copy>(
    body: &str,
    grid: [u32; 3],
    block: [u32; 3],
    buffers: &mut [Vec<T>],
    indices: &[u32],
) -> Result<(), String> {
    run_sharing(1024, body, grid, block, buffers, indices)
}

/// As [`run`], with `shared` bytes of dynamic shared memory.
fn run_sharing<T: Copy>(
    shared: u32,
    body: &str,
    grid: [u32; 3],
    block: [u32; 3],
    buffers: &mut [Vec<T>],
    indices: &[u32],
) -> Result<(), String> {
    let names = (0..buffers.len()).map(|i| format!(".param .u64 b{i}"));
    let all: Vec<_> = names.chain((0..indices.len()).map(|i| format!(".param .u32 n{i}"))).collect();
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n{FUNCTIONS}
        .visible .entry k({}) {{ .reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<40>; .reg .f32 %f<20>; .reg .b64 %d<20>;
        {body} ret; }}",
        all.join(", ")
    );
    let parsed = parse(&text, &mut |_| Ok(0)).map_err(|error| error.to_string())?;
    let functions: Arc<Functions> =
        Arc::new(parsed.functions.into_iter().map(|(name, function)| (name, Arc::new(function))).collect());
    let module = Module { functions, variables: HashMap::new() };
    let kernel = module.kernel("k").expect("the text defines kernel k");
    let mut ranges: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| (buffer.as_mut_ptr() as u64, buffer.as_mut_ptr() as u64 + size_of_val(buffer.as_slice()) as u64))
        .collect();
    let mut params: Vec<u8> = ranges.iter().flat_map(|(start, _)| start.to_le_bytes()).collect();
    params.extend(indices.iter().flat_map(|number| number.to_le_bytes()));
    ranges.sort_unstable();
    kernel.launch(&Launch { grid, block, shared, params: &params, memory: &Ranges(ranges) })
}

const FUNCTIONS: &str = ".func (.param .b32 out) twice(.param .b32 in) {
    .reg .b32 %r<3>; ld.param.b32 %r1, [in+0]; add.s32 %r2, %r1, %r1; st.param.b32 [out+0], %r2; ret; }";

/// Sets `%d1` to the address of this thread's element of `b0`, `%r1` to the thread's global index.
const LOAD: &str = "ld.param.u64 %d0, [b0]; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;
    mad.lo.s32 %r1, %r3, %r4, %r5; mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d0, %d2;";

fn indices(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn out_of_bounds_threads_are_detected() {
    let body = format!(
        "{LOAD} ld.param.u32 %r6, [n0]; setp.ge.u32 %p1, %r1, %r6; @%p1 bra $END;
        ld.global.u32 %r2, [%d1]; mul.lo.s32 %r2, %r2, 3; st.global.u32 [%d1], %r2; $END:"
    );
    let mut buffers = [indices(100)];
    run(&body, [4, 1, 1], [32, 1, 1], &mut buffers, &[100]).unwrap();
    assert_eq!(buffers[0], indices(100).iter().map(|n| n * 3).collect::<Vec<_>>());
    // With a bound of 101, thread 100 is out of bounds.
    let error = run(&body, [4, 1, 1], [32, 1, 1], &mut buffers, &[101]).unwrap_err();
    assert!(error.contains("block [3, 0, 0]") && error.contains("out of bounds"), "{error}");
}

#[test]
fn diverged_lanes_reconverge_after_a_loop() {
    // Each lane counts down from its index; the vote after the loop needs all of them.
    let body = format!(
        "{LOAD} mov.u32 %r6, 0; mov.u32 %r7, %r1;
        $LOOP: setp.eq.s32 %p1, %r7, 0; @%p1 bra $OUT; add.s32 %r7, %r7, -1; add.s32 %r6, %r6, 2; bra $LOOP;
        $OUT: vote.sync.ballot.b32 %r8, %p1, -1; setp.ne.s32 %p2, %r8, -1; @%p2 trap; st.global.u32 [%d1], %r6;"
    );
    let mut buffers = [indices(32)];
    run(&body, [1, 1, 1], [32, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0], indices(32).iter().map(|n| n * 2).collect::<Vec<_>>());
}

#[test]
fn barrier_orders_shared_memory_between_warps() {
    // Thread i writes its slot of shared memory and reads that of thread 63 - i, which belongs to the other warp.
    let body = |barrier: &str| {
        format!(
            "{LOAD} mov.u32 %r6, dynamic; shl.b32 %r7, %r1, 2; add.s32 %r8, %r6, %r7; st.shared.u32 [%r8], %r1; {barrier}
            sub.s32 %r9, 252, %r7; add.s32 %r9, %r6, %r9; ld.shared.u32 %r10, [%r9]; st.global.u32 [%d1], %r10;"
        )
    };
    let mut buffers = [indices(64)];
    run(&body("bar.sync 0;"), [1, 1, 1], [64, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0], indices(64).into_iter().rev().collect::<Vec<_>>());
    run(&body(""), [1, 1, 1], [64, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0][0], u32::MAX, "without a barrier the other warp's value is not written yet");
}

#[test]
fn shuffles_exchange_values_between_lanes() {
    let body = format!(
        "{LOAD} shfl.sync.bfly.b32 %r6|%p1, %r1, 1, 31, -1; shfl.sync.down.b32 %r7|%p2, %r1, 4, 31, -1;
        shfl.sync.up.b32 %r8|%p3, %r1, 4, 0, -1; shfl.sync.idx.b32 %r9|%p4, %r1, 2, 6175, -1;
        mad.lo.s32 %r10, %r7, 100, %r6; mad.lo.s32 %r10, %r8, 10000, %r10; mad.lo.s32 %r10, %r9, 1000000, %r10;
        st.global.u32 [%d1], %r10;"
    );
    let mut buffers = [indices(32)];
    run(&body, [1, 1, 1], [32, 1, 1], &mut buffers, &[]).unwrap();
    let expected = |i: u32| {
        let (down, up) = (if i < 28 { i + 4 } else { i }, if i >= 4 { i - 4 } else { i });
        // 6175 is clamp 31 with segments of 8 lanes.
        (i ^ 1) + 100 * down + 10_000 * up + 1_000_000 * (i / 8 * 8 + 2)
    };
    assert_eq!(buffers[0], (0..32).map(expected).collect::<Vec<_>>());
}

#[test]
fn async_copies_complete_when_waited_for() {
    let body = |wait: &str| {
        format!(
            "{LOAD} mov.u32 %r6, dynamic; shl.b32 %r7, %r1, 4; add.s32 %r6, %r6, %r7; cvt.u64.u32 %d3, %r7; add.s64 %d4, %d0, %d3;
            cp.async.cg.shared.global [%r6], [%d4], 16, 8; cp.async.commit_group; cp.async.wait_group {wait};
            ld.shared.u32 %r8, [%r6+4]; ld.shared.u32 %r9, [%r6+8]; xor.b32 %r8, %r8, %r9; st.global.u32 [%d1], %r8;"
        )
    };
    let mut buffers = [indices(8)];
    run(&body("0"), [1, 1, 1], [2, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0][..2], [1, 5], "the second element of each four, XOR zero fill");
    let mut buffers = [indices(8)];
    run(&body("1"), [1, 1, 1], [2, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0][..2], [0, 0], "shared memory still holds its initial value");
}

#[test]
fn device_function_runs_for_the_calling_lanes_only() {
    let body = format!(
        "{LOAD} setp.lt.u32 %p1, %r1, 5; @%p1 bra $END;
        {{ .param .b32 param0; st.param.b32 [param0+0], %r1; .param .b32 retval0; call.uni (retval0), twice, (param0);
        ld.param.b32 %r2, [retval0+0]; }} st.global.u32 [%d1], %r2; $END:"
    );
    let mut buffers = [indices(40)];
    run(&body, [1, 1, 1], [40, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0], (0..40).map(|i| if i < 5 { i } else { 2 * i }).collect::<Vec<_>>());
    let error = run("call.uni __assertfail, ();", [1, 1, 1], [32, 1, 1], &mut buffers, &[]).unwrap_err();
    assert!(error.contains("an assertion failed"), "{error}");
}

#[test]
fn atomics_are_exact_across_blocks() {
    let body = "ld.param.u64 %d0, [b0]; atom.global.add.u32 %r1, [%d0], 1; red.global.add.u32 [%d0+4], 2;";
    let mut buffers = [vec![0u32; 2]];
    run(body, [500, 2, 1], [64, 1, 1], &mut buffers, &[]).unwrap();
    assert_eq!(buffers[0], [64_000, 128_000]);
}

#[test]
fn mma_multiplies_matrices() {
    // A (16x16, by rows) and B (16x8, by columns) are bfloat16, in shared memory with rows of 16 bytes.
    let body = "ld.param.u64 %d0, [b0]; ld.param.u64 %d5, [b1]; mov.u32 %r1, %tid.x; mov.u32 %r2, dynamic;
        shl.b32 %r3, %r1, 4; add.s32 %r4, %r2, %r3; cvt.u64.u32 %d1, %r3; add.s64 %d2, %d0, %d1;
        cp.async.cg.shared.global [%r4], [%d2], 16; setp.gt.u32 %p1, %r1, 15; @%p1 bra $B;
        cp.async.cg.shared.global [%r4+512], [%d2+512], 16;
        $B: cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;
        and.b32 %r5, %r1, 15; shl.b32 %r5, %r5, 5; shr.u32 %r6, %r1, 4; shl.b32 %r6, %r6, 4; add.s32 %r5, %r5, %r6;
        add.s32 %r5, %r5, %r2;
        ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];
        and.b32 %r7, %r1, 15; shl.b32 %r7, %r7, 4; add.s32 %r7, %r7, %r2;
        ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r7+512];
        mov.f32 %f1, 0f3F800000;
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, {%r10, %r11, %r12, %r13}, {%r14, %r15},
            {%f1, %f1, %f1, %f1};
        shr.u32 %r20, %r1, 2; and.b32 %r21, %r1, 3; shl.b32 %r20, %r20, 5; shl.b32 %r21, %r21, 3; add.s32 %r20, %r20, %r21;
        cvt.u64.u32 %d6, %r20; add.s64 %d6, %d5, %d6; st.global.v2.f32 [%d6], {%f2, %f3}; st.global.v2.f32 [%d6+256], {%f4, %f5};";
    let value = |i: usize| ((i * 37 + 11) % 23) as f32 - 11.0;
    let bits: Vec<u16> = (0..16 * 16 + 16 * 8).map(|i| half::bf16::from_f32(value(i)).to_bits()).collect();
    let words: Vec<f32> =
        bits.chunks(2).map(|pair| f32::from_bits(u32::from(pair[0]) | u32::from(pair[1]) << 16)).collect();
    let mut buffers = [words, vec![0.0; 128]];
    run(body, [1, 1, 1], [32, 1, 1], &mut buffers, &[]).unwrap();
    for row in 0..16 {
        for column in 0..8 {
            let dot: f32 = (0..16).map(|k| value(16 * row + k) * value(256 + 8 * k + column)).sum();
            assert_eq!(buffers[1][8 * row + column], dot + 1.0, "{row} {column}");
        }
    }
}

/// Computes a result from two scalars in one thread.
fn compute(body: &str, a: u32, b: u32) -> u32 {
    let body = format!(
        "ld.param.u64 %d0, [b0]; ld.param.u32 %r1, [n0]; ld.param.u32 %r2, [n1]; {body} st.global.u32 [%d0], %r3;"
    );
    let mut buffers = [vec![0u32]];
    run(&body, [1, 1, 1], [1, 1, 1], &mut buffers, &[a, b]).unwrap();
    buffers[0][0]
}

#[test]
fn integer_arithmetic_follows_the_type() {
    let minus_7 = -7i32 as u32;
    for (body, a, b, expected) in [
        ("div.s32 %r3, %r1, %r2;", minus_7, 2, -3i32 as u32),
        ("rem.s32 %r3, %r1, %r2;", minus_7, 2, -1i32 as u32),
        ("shr.s32 %r3, %r1, %r2;", minus_7, 1, -4i32 as u32),
        ("shr.u32 %r3, %r1, %r2;", minus_7, 40, 0),
        ("shr.s32 %r3, %r1, %r2;", minus_7, 40, u32::MAX),
        ("mul.hi.u32 %r3, %r1, %r2;", 1 << 31, 6, 3),
        ("min.s32 %r3, %r1, %r2;", minus_7, 2, minus_7),
        ("max.u32 %r3, %r1, %r2;", minus_7, 2, minus_7),
        ("bfi.b32 %r3, %r1, %r2, 4, 8;", 0xab, 0xffff, 0xfabf),
        ("prmt.b32 %r3, %r1, %r2, 4180;", 0x4433_2211, 0x8877_6655, 0x2211_6655),
        ("shf.l.wrap.b32 %r3, %r1, %r2, 8;", 0x1122_3344, 0x5566_7788, 0x6677_8811),
        ("lop3.b32 %r3, %r1, %r2, 255, 150;", 0b1100, 0b1010, 0xff ^ 0b1100 ^ 0b1010),
        ("sub.cc.u32 %r4, %r1, %r2; subc.u32 %r3, 10, 0;", 1, 2, 9),
        ("add.cc.u32 %r4, %r1, %r2; addc.u32 %r3, 10, 0;", u32::MAX, 2, 11),
        ("cvt.s64.s32 %d1, %r1; shr.s64 %d1, %d1, 1; cvt.u32.u64 %r3, %d1;", minus_7, 0, -4i32 as u32),
        ("mov.b32 {%h1, %h2}, %r1; mov.b32 %r3, {%h2, %h1};", 0x1111_2222, 0, 0x2222_1111),
        ("dp4a.s32.s32 %r3, %r1, %r2, %r1;", 0x01ff_0203, 0x7f02_0304, 0x01ff_0203 + 127 - 2 + 6 + 12),
        ("clz.b32 %r3, %r1;", 1, 0, 31),
    ] {
        assert_eq!(compute(body, a, b), expected, "{body}");
    }
}

#[test]
fn float_arithmetic_follows_the_rounding_mode() {
    let (one, tiny) = (1f32, 2f32.powi(-60));
    let nan = f32::NAN;
    for (body, a, b, expected) in [
        ("add.rn.f32 %r3, %r1, %r2;", one, tiny, 1.0),
        ("add.rp.f32 %r3, %r1, %r2;", one, tiny, one.next_up()),
        ("add.rz.f32 %r3, %r1, %r2;", one, -tiny, one.next_down()),
        ("fma.rm.f32 %r3, %r1, %r1, %r2;", one, -tiny, one.next_down()),
        ("fma.rn.f32 %r3, %r1, %r1, %r2;", one.next_up(), -1.0, 2f32.powi(-22) + 2f32.powi(-46)),
        ("min.f32 %r3, %r1, %r2;", nan, 2.0, 2.0),
        ("ex2.approx.ftz.f32 %r3, %r1;", 3.0, 0.0, 8.0),
        ("copysign.f32 %r3, %r1, %r2;", -0.0, 2.0, -2.0),
        ("cvt.rni.f32.f32 %r3, %r1;", 2.5, 0.0, 2.0),
        ("cvt.sat.f32.f32 %r3, %r1;", nan, 0.0, 0.0),
        ("cvt.rzi.s32.f32 %r4, %r1; cvt.rn.f32.s32 %r3, %r4;", -3e9, 0.0, i32::MIN as f32),
        ("cvt.rn.bf16.f32 %h1, %r1; cvt.f32.bf16 %r3, %h1;", 1.0 + 2f32.powi(-8), 0.0, 1.0),
        ("cvt.rn.bf16x2.f32 %r4, %r1, %r2; mov.b32 {%h1, %h2}, %r4; cvt.f32.bf16 %r3, %h2;", 3.0, 5.0, 3.0),
        (
            "cvt.rn.satfinite.e4m3x2.f32 %h1, %r1, %r2; cvt.rn.f16x2.e4m3x2 %r4, %h1; mov.b32 {%h2, %h3}, %r4; cvt.f32.f16 %r3, %h3;",
            1e4,
            5.0,
            448.0,
        ),
    ] {
        assert_eq!(f32::from_bits(compute(body, a.to_bits(), b.to_bits())), expected, "{body}");
    }
    assert!(f32::from_bits(compute("max.NaN.f32 %r3, %r1, %r2;", nan.to_bits(), 0)).is_nan());
    assert_eq!(compute("setp.ltu.f32 %p1, %r1, %r2; selp.b32 %r3, 1, 0, %p1;", nan.to_bits(), 0), 1);
    assert_eq!(compute("setp.lt.f32 %p1, %r1, %r2; selp.b32 %r3, 1, 0, %p1;", nan.to_bits(), 0), 0);
}

#[test]
fn illegal_instructions_report_line_and_cause() {
    for (body, reason) in [
        ("ld.param.u64 %d0, [b0]; ld.global.u32 %r1, [%d0+2];", "misaligned"),
        ("ld.global.u32 %r1, [%d0];", "out of bounds"),
        ("mov.u32 %r1, dynamic; ld.shared.u32 %r2, [%r1+1024];", "out of bounds"),
        ("trap;", "trap"),
        (
            "mov.u32 %r1, %tid.x; setp.eq.s32 %p1, %r1, 0; @%p1 bra $A; bra $B; $A: shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, 2; $B:",
            "not in the member mask",
        ),
    ] {
        let error = run(body, [1, 1, 1], [32, 1, 1], &mut [indices(4)], &[]).unwrap_err();
        assert!(error.contains(reason) && error.contains("line"), "{error}");
    }
}
