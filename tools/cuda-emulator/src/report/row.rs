//! Rows of the report: kernels, products and copies, by the least that a card needs for them.

use serde::Serialize;

use super::phase::Phase;
use super::{BYTES_A_SECOND, Copy};

/// All calls of a kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) calls: u64,
    /// Threads that were launched, and for products nothing.
    pub(crate) threads: u64,
    /// Operations of products, and for kernels nothing.
    pub(crate) flops: f64,
    pub(crate) bytes: u64,
    /// Seconds at the card's ceilings, see the report's head.
    pub(crate) floor_s: f64,
    /// Seconds that it took here.
    pub(crate) emulated_s: f64,
}

/// A phase's rows, the greatest floor first.
pub(crate) fn rows(phase: &Phase) -> Vec<Row> {
    let kernels = phase.kernels.iter().map(|(name, count)| Row {
        name: name.clone(),
        calls: count.launches,
        threads: count.threads,
        flops: 0.0,
        bytes: count.bytes,
        floor_s: count.bytes as f64 / BYTES_A_SECOND,
        emulated_s: count.emulated.as_secs_f64(),
    });
    let products = phase.products.iter().map(|(shape, count)| {
        let (flops, bytes) = (shape.flops() * count.calls as f64, shape.bytes() * count.calls);
        Row {
            name: shape.to_string(),
            calls: count.calls,
            threads: 0,
            flops,
            bytes,
            floor_s: (flops / shape.ceiling()).max(bytes as f64 / BYTES_A_SECOND),
            emulated_s: count.emulated.as_secs_f64(),
        }
    });
    // What crosses to the host is not bounded by the card's own memory.
    let copies = [Copy::OnDevice, Copy::Set].into_iter().filter_map(|copy| {
        let count = phase.copies[copy as usize];
        let touched = if copy == Copy::OnDevice { 2 * count.bytes } else { count.bytes };
        (count.calls > 0).then(|| Row {
            name: copy.name().to_owned(),
            calls: count.calls,
            threads: 0,
            flops: 0.0,
            bytes: touched,
            floor_s: touched as f64 / BYTES_A_SECOND,
            emulated_s: 0.0,
        })
    });
    let mut rows: Vec<Row> = kernels.chain(products).chain(copies).collect();
    rows.sort_by(|a, b| b.floor_s.total_cmp(&a.floor_s).then_with(|| a.name.cmp(&b.name)));
    rows
}
