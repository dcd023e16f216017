//! The report as text.

use std::fmt::{self, Write};

use super::phase::{CopyKind, Peak, PhaseCounts};
use super::row::{Row, rows};

/// Maximum number of printed rows and sizes. The JSON file has all of them.
const ROWS: usize = 25;
const SIZES: usize = 20;

const HEADER: &str = "\
Counts of an emulated device. The bound is a lower bound of the time on a GPU with 4.3 TB/s of memory bandwidth, 788 TFLOP/s
in bfloat16 and 67 TFLOP/s in float32, not an estimate. Products: operations or memory traffic, whichever takes longer.
Kernels: memory traffic only, counted from each pointer parameter to the end of its allocation. This overstates kernels that
access part of a tensor, and understates compute-bound kernels such as attention. A new phase starts when the program resets
the high-water mark of the memory pool.
";

/// Formats the report.
pub(super) fn text(phases: &[PhaseCounts], invalid_frees: u64, fault: Option<&str>) -> Result<String, fmt::Error> {
    let mut out = String::from(HEADER);
    if let Some(fault) = fault {
        writeln!(out, "\nDevice lost: {fault}")?;
    }
    if invalid_frees > 0 {
        writeln!(out, "\n{} invalid frees", invalid_frees)?;
    }
    let highest = phases.iter().map(|phase| phase.peak.bytes).max().unwrap_or(0);
    writeln!(out, "\nPeak memory: {}", gb(highest))?;
    for (i, phase) in phases.iter().enumerate() {
        writeln!(
            out,
            "
== Phase {} of {}",
            i + 1,
            phases.len()
        )?;
        write_phase(&mut out, phase)?;
    }
    Ok(out)
}

fn write_phase(out: &mut String, phase: &PhaseCounts) -> fmt::Result {
    let launches: u64 = phase.kernels.values().map(|count| count.launches).sum();
    let products: u64 = phase.products.values().map(|count| count.calls).sum();
    writeln!(out, "{launches} launches, {products} products, {} allocations", phase.allocations)?;
    if phase.failed_allocations > 0 {
        writeln!(out, "{} allocations failed: out of memory", phase.failed_allocations)?;
    }
    for copy in CopyKind::ALL {
        let count = phase.copies[copy as usize];
        if count.calls > 0 {
            writeln!(out, "{} x {}: {}", count.calls, copy.name(), gb(count.bytes))?;
        }
    }
    write_rows(out, &rows(phase))?;
    write_peak(out, &phase.peak)
}

fn write_rows(out: &mut String, rows: &[Row]) -> fmt::Result {
    let floor: f64 = rows.iter().map(|row| row.floor_s).sum();
    let flops: f64 = rows.iter().map(|row| row.flops).sum();
    writeln!(out, "Sum of lower bounds: {:.3} ms; products: {:.3} TFLOP", floor * 1e3, flops / 1e12)?;
    writeln!(out, "{:>11} {:>9} {:>12} {:>12} {:>11}  name", "bound ms", "calls", "GB", "GFLOP", "host s")?;
    for row in rows.iter().take(ROWS) {
        let (gb, gflop) = (row.bytes as f64 / 1e9, row.flops / 1e9);
        let Row { name, calls, floor_s, emulated_s, .. } = row;
        writeln!(out, "{:>11.3} {calls:>9} {gb:>12.3} {gflop:>12.1} {emulated_s:>11.3}  {name}", floor_s * 1e3)?;
    }
    if rows.len() > ROWS {
        let rest: f64 = rows[ROWS..].iter().map(|row| row.floor_s).sum();
        writeln!(out, "{:>11.3} and {} more", rest * 1e3, rows.len() - ROWS)?;
    }
    Ok(())
}

fn write_peak(out: &mut String, peak: &Peak) -> fmt::Result {
    writeln!(out, "Peak: {} after {} launches and products, the last one {}", gb(peak.bytes), peak.after, peak.last)?;
    let mut sizes: Vec<(u64, u64)> = peak.sizes.iter().map(|(bytes, count)| (*bytes, *count)).collect();
    sizes.sort_by_key(|(bytes, count)| std::cmp::Reverse(bytes * count));
    for (bytes, count) in sizes.iter().take(SIZES) {
        writeln!(out, "{:>14} in {count} allocations of {bytes} bytes", gb(bytes * count))?;
    }
    Ok(())
}

fn gb(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 / 1e9)
}
