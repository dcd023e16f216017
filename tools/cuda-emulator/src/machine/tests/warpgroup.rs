//! Tests of `wgmma`.

use half::bf16;

use super::run_sharing;

/// Offset of b in shared memory; a is at 0.
const B: usize = 8192;
const IMAGE: usize = B + 2 * 4096;

/// Returns elements whose products and accumulators are exact in any order.
fn value(i: usize) -> f32 {
    ((i * 37 + 11) % 23) as f32 - 11.0
}

fn a_value(row: usize, k: usize) -> f32 {
    value(16 * row + k)
}

fn b_value(k: usize, column: usize) -> f32 {
    value(5000 + 16 * column + k)
}

/// Stores an element in a row of 128 bytes with the 128-byte swizzle.
fn store_element(image: &mut [u8], matrix: usize, row: usize, element: usize, value: f32) {
    let at = matrix + 128 * row + (((element / 8) ^ (row % 8)) * 16) + element % 8 * 2;
    image[at..at + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
}

/// Returns the contents of shared memory: a (64 x 16) in columns `first..` of its rows; b (16 x `columns`), K-major, or
/// MN-major in panels of 16 rows.
fn image(first: usize, columns: usize, mn_major: bool) -> Vec<u32> {
    let mut image = vec![0; IMAGE];
    for k in 0..16 {
        (0..64).for_each(|row| store_element(&mut image, 0, row, first + k, a_value(row, k)));
        for column in 0..columns {
            let value = b_value(k, column);
            match mn_major {
                false => store_element(&mut image, B, column, k, value),
                true => store_element(&mut image, B + column / 64 * 2048, k, column % 64, value),
            }
        }
    }
    image.chunks(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

fn descriptor(start: usize, leading: usize) -> u64 {
    1 << 62 | (1024 / 16) << 32 | (leading as u64 / 16) << 16 | (start as u64 / 16)
}

fn registers(prefix: &str, count: usize) -> String {
    (0..count).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", ")
}

/// Returns a kernel that copies the image to shared memory, runs `body` and stores each thread's accumulators `%s`.
fn kernel(count: usize, body: &str) -> String {
    let stores: String = (0..count).map(|i| format!("st.global.f32 [%d3+{}], %s{i};\n", 4 * i)).collect();
    format!(
        ".reg .f32 %s<{count}>; ld.param.u64 %d0, [b0]; ld.param.u64 %d1, [b1]; mov.u32 %r1, %tid.x; mov.u32 %r2, dynamic;
        mov.u32 %r3, %r1;
        $COPY: setp.ge.u32 %p1, %r3, {words}; @%p1 bra $DONE; mul.wide.u32 %d2, %r3, 4; add.s64 %d2, %d0, %d2;
        ld.global.u32 %r4, [%d2]; shl.b32 %r5, %r3, 2; add.s32 %r5, %r5, %r2; st.shared.u32 [%r5], %r4;
        add.s32 %r3, %r3, 128; bra $COPY;
        $DONE: fence.proxy.async.shared::cta;
        bar.sync 0;
        mov.u64 %d5, {a}; mov.u64 %d6, {b}; mov.u64 %d7, {b_across};
        {ones}
        wgmma.fence.sync.aligned;
        {body}
        mul.wide.u32 %d3, %r1, {row}; add.s64 %d3, %d1, %d3;
        {stores}",
        words = IMAGE / 4,
        a = descriptor(32, 0),
        b = descriptor(B, 0),
        b_across = descriptor(B, 2048),
        ones = (0..count).map(|i| format!("mov.f32 %s{i}, 0f3F800000;")).collect::<String>(),
        row = 4 * count,
    )
}

const WAIT: &str = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;";

/// Runs a kernel and returns the accumulators as a matrix (64 x 2 `count`), by rows.
fn run(count: usize, body: &str, image: Vec<u32>) -> Result<Vec<Vec<f32>>, String> {
    run_text(count, &kernel(count, body), image)
}

fn run_text(count: usize, text: &str, image: Vec<u32>) -> Result<Vec<Vec<f32>>, String> {
    let mut buffers = [image, vec![0; 128 * count]];
    run_sharing(IMAGE as u32, text, [1, 1, 1], [128, 1, 1], &mut buffers, &[])?;
    let mut accumulators = vec![vec![f32::NAN; 2 * count]; 64];
    for (thread, values) in buffers[1].chunks(count).enumerate() {
        let (warp, lane) = (thread / 32, thread % 32);
        for (i, value) in values.iter().enumerate() {
            let (row, column) = (16 * warp + lane / 4 + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * (lane % 4) + i % 2);
            accumulators[row][column] = f32::from_bits(*value);
        }
    }
    Ok(accumulators)
}

fn check(accumulators: &[Vec<f32>], expected: impl Fn(f32) -> f32) {
    for (row, accumulators) in accumulators.iter().enumerate() {
        for (column, sum) in accumulators.iter().enumerate() {
            let dot: f32 = (0..16).map(|k| a_value(row, k) * b_value(k, column)).sum();
            assert_eq!(*sum, expected(dot), "{row} {column}");
        }
    }
}

#[test]
fn wgmma_multiplies_matrices_in_shared_memory() {
    let product = |rest: &str| {
        format!("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {{{}}}, %d5, %d6, {rest};", registers("s", 8))
    };
    let a = 16;
    let run = |body: &str| run(8, body, image(a, 16, false)).unwrap();
    check(&run(&format!("{} {WAIT}", product("1, 1, 1, 0, 0"))), |dot| dot + 1.0);
    check(&run(&format!("{} {WAIT}", product("0, 1, -1, 0, 0"))), |dot| -dot);
    // scale-d may be a predicate; the second product of a group adds to the pending result of the first.
    let twice = format!("setp.ne.b32 %p2, 1, 1; {} {} {WAIT}", product("%p2, 1, 1, 0, 0"), product("1, 1, 1, 0, 0"));
    check(&run(&twice), |dot| 2.0 * dot);
    // Without a wait for the group, the accumulators are NaN.
    let early =
        format!("{} wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1;", product("1, 1, 1, 0, 0"));
    assert!(run(&early).iter().flatten().all(|sum| sum.is_nan()));
}

/// Loads a into registers from columns 16 to 31 of its rows in shared memory.
const LOAD_A: &str = "and.b32 %r10, %r1, 31; shr.u32 %r11, %r1, 5; shr.u32 %r12, %r10, 2; and.b32 %r13, %r10, 3;
    mad.lo.s32 %r14, %r11, 16, %r12; shl.b32 %r14, %r14, 7; add.s32 %r14, %r14, %r2; shl.b32 %r13, %r13, 2;
    and.b32 %r15, %r12, 7; xor.b32 %r16, %r15, 2; xor.b32 %r17, %r15, 3; shl.b32 %r16, %r16, 4; shl.b32 %r17, %r17, 4;
    add.s32 %r16, %r16, %r13; add.s32 %r17, %r17, %r13; add.s32 %r16, %r16, %r14; add.s32 %r17, %r17, %r14;
    ld.shared.u32 %r20, [%r16]; ld.shared.u32 %r21, [%r16+1024]; ld.shared.u32 %r22, [%r17]; ld.shared.u32 %r23, [%r17+1024];
    wgmma.fence.sync.aligned;";

/// Returns a product with N = 72: a panel of 64 columns and one of 8.
fn mn_major(rest: &str) -> String {
    format!(
        "{LOAD_A} wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 {{{}}}, {{%r20, %r21, %r22, %r23}}, %d7, {rest};",
        registers("s", 36)
    )
}

#[test]
fn wgmma_takes_a_from_registers_and_b_mn_major() {
    let body = format!("{} {WAIT}", mn_major("1, -1, 1, 1"));
    check(&run(36, &body, image(16, 72, true)).unwrap(), |dot| 1.0 - dot);
}

#[test]
fn wgmma_misuse_is_detected() {
    let valid = kernel(36, &format!("{} $HERE: {WAIT}", mn_major("1, 1, 1, 1")));
    assert!(run_text(36, &valid, image(16, 72, true)).is_ok());
    for (old, new, reason) in [
        ("fence.proxy.async.shared::cta;", "", "without a subsequent fence.proxy.async"),
        ("bar.sync 0;", "", "without a subsequent barrier"),
        ("bar.sync 0;", "bar.sync 0; cp.async.cg.shared.global [%r2+8192], [%d0], 16;", "a copy is pending"),
        ("wgmma.fence.sync.aligned;", "", "without wgmma.fence"),
        ("$HERE:", "mov.u32 %r20, 0;", "are changed before"),
        ("$HERE:", "mov.f32 %s3, 0f00000000;", "are written before"),
        ("$HERE:", "st.shared.u32 [%r2+8192], %r1;", "pending wgmma reads them"),
        ("$HERE:", "bar.sync 0; cp.async.cg.shared.global [%r2+8192], [%d0], 16;", "pending wgmma reads them"),
        ("%d7, 1, 1", "%d3, 1, 1", "layout"),
        ("wgmma.mma", "setp.gt.u32 %p3, %r1, 15; @%p3 wgmma.mma", "less than full warps"),
        ("wgmma.mma", "setp.gt.u32 %p3, %r1, 31; @%p3 wgmma.mma", "not all warps"),
        (
            "wgmma.mma",
            "cvt.u64.u32 %d8, %r11; shl.b64 %d8, %d8, 6; add.s64 %d7, %d7, %d8; wgmma.mma",
            "different wgmma instructions",
        ),
        (
            "wgmma.mma",
            "cvt.u64.u32 %d8, %r1; shl.b64 %d8, %d8, 6; add.s64 %d7, %d7, %d8; wgmma.mma",
            "different operands",
        ),
    ] {
        let text = valid.replace(old, new);
        assert_ne!(text, valid);
        let error = run_text(36, &text, image(16, 72, true)).unwrap_err();
        assert!(error.contains(reason), "{old} {new}: {error}");
    }
}
