//! The report as text.

use std::fmt::{self, Write};

use super::phase::{Peak, Phase};
use super::row::{Row, rows};
use super::{Copy, Report};

/// Rows and sizes that are printed; all of them are in the JSON.
const ROWS: usize = 25;
const SIZES: usize = 20;

const HEAD: &str = "\
Counts of an emulated device. A floor is no time: it is what a card of 4.3 TB/s, 788 TFLOP/s in bfloat16 and 67 TFLOP/s in
float32 could not go below. Products: operations or bytes, whichever takes longer. Kernels: bytes alone, from each of their
pointers to the end of the allocation it points into, so that a kernel that reads a part of a tensor is overstated, and one
that computes much, as attention does, is understated. A phase ends where the program resets the pool's highest use.
";

/// The whole report.
pub(super) fn text(report: &Report, fault: Option<&str>) -> Result<String, fmt::Error> {
    let mut out = String::from(HEAD);
    if let Some(fault) = fault {
        writeln!(out, "\nThe device was lost: {fault}")?;
    }
    if report.wrong_frees > 0 {
        writeln!(out, "\n{} addresses were freed that were not allocated.", report.wrong_frees)?;
    }
    let highest = report.phases.iter().map(|phase| phase.peak.bytes).max().unwrap_or(0);
    writeln!(out, "\nMost memory in use: {}", gb(highest))?;
    for (i, phase) in report.phases.iter().enumerate() {
        writeln!(out, "\n== Phase {} of {}", i + 1, report.phases.len())?;
        write_phase(&mut out, phase)?;
    }
    Ok(out)
}

fn write_phase(out: &mut String, phase: &Phase) -> fmt::Result {
    let launches: u64 = phase.kernels.values().map(|count| count.launches).sum();
    let products: u64 = phase.products.values().map(|count| count.calls).sum();
    writeln!(out, "{launches} launches, {products} products, {} allocations", phase.allocations)?;
    if phase.refused > 0 {
        writeln!(out, "{} allocations did not fit", phase.refused)?;
    }
    for copy in Copy::ALL {
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
    writeln!(out, "All floors: {:.3} ms; all products: {:.3} TFLOP", floor * 1e3, flops / 1e12)?;
    writeln!(out, "{:>11} {:>9} {:>12} {:>12} {:>11}  what", "floor ms", "calls", "GB", "GFLOP", "here s")?;
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
    writeln!(
        out,
        "Most in use: {} after {} launches and products, the last {}",
        gb(peak.bytes),
        peak.after,
        peak.last
    )?;
    let mut sizes: Vec<(u64, u64)> = peak.sizes.iter().map(|(bytes, count)| (*bytes, *count)).collect();
    sizes.sort_by_key(|(bytes, count)| std::cmp::Reverse(bytes * count));
    for (bytes, count) in sizes.iter().take(SIZES) {
        writeln!(out, "{:>14} in {count} of {bytes} bytes", gb(bytes * count))?;
    }
    Ok(())
}

fn gb(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 / 1e9)
}
