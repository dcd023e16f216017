//! Rows of the report: kernels, products and copies, sorted by their lower time bound.

use serde::Serialize;

use super::phase::{CopyKind, PhaseCounts};

/// Upper bound of an H200's memory bandwidth, in bytes per second.
const PEAK_BANDWIDTH: f64 = 4.3e12;

/// All calls of one kernel, of one product shape or of one kind of copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) calls: u64,
    /// Launched threads; 0 for products.
    pub(crate) threads: u64,
    /// Floating-point operations; 0 for kernels.
    pub(crate) flops: f64,
    pub(crate) bytes: u64,
    /// Lower bound of the time on an H200 in seconds, see the report's header.
    pub(crate) floor_s: f64,
    /// Seconds on the host.
    pub(crate) emulated_s: f64,
}

/// Returns the rows of a phase, in descending order of the lower bound.
pub(crate) fn rows(phase: &PhaseCounts) -> Vec<Row> {
    let kernels = phase.kernels.iter().map(|(name, count)| Row {
        name: name.clone(),
        calls: count.launches,
        threads: count.threads,
        flops: 0.0,
        bytes: count.bytes,
        floor_s: count.bytes as f64 / PEAK_BANDWIDTH,
        emulated_s: count.host_time.as_secs_f64(),
    });
    let products = phase.products.iter().map(|(shape, count)| {
        let (flops, bytes) = (shape.flops() * count.calls as f64, shape.bytes() * count.calls);
        Row {
            name: shape.to_string(),
            calls: count.calls,
            threads: 0,
            flops,
            bytes,
            floor_s: (flops / shape.peak_flops()).max(bytes as f64 / PEAK_BANDWIDTH),
            emulated_s: count.host_time.as_secs_f64(),
        }
    });
    // Transfers to and from the host are not bound by device memory bandwidth.
    let copies = [CopyKind::OnDevice, CopyKind::Set].into_iter().filter_map(|copy| {
        let count = phase.copies[copy as usize];
        let touched = if copy == CopyKind::OnDevice { 2 * count.bytes } else { count.bytes };
        (count.calls > 0).then(|| Row {
            name: copy.name().to_owned(),
            calls: count.calls,
            threads: 0,
            flops: 0.0,
            bytes: touched,
            floor_s: touched as f64 / PEAK_BANDWIDTH,
            emulated_s: 0.0,
        })
    });
    let mut rows: Vec<Row> = kernels.chain(products).chain(copies).collect();
    rows.sort_by(|a, b| b.floor_s.total_cmp(&a.floor_s).then_with(|| a.name.cmp(&b.name)));
    rows
}
