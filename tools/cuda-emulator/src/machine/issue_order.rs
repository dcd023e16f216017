//! Check that the warps of a warpgroup execute the same sequence of `wgmma` instructions.

/// Identity of a product: instruction and descriptors.
pub(super) type ProductId = (usize, [u64; 2]);

/// Products that the warps of a warpgroup have started since the last barrier.
#[derive(Debug, Default, Clone)]
pub(super) struct IssueOrder {
    products: Vec<ProductId>,
    /// Number of products that each warp has started.
    counts: [usize; 4],
}

impl IssueOrder {
    /// Records that one of the four warps starts a product.
    pub(super) fn record(&mut self, warp: usize, product: ProductId) -> Result<(), String> {
        let count = &mut self.counts[warp];
        match self.products.get(*count) {
            None => self.products.push(product),
            Some(first) if *first == product => {}
            Some(_) => return Err("the warps of a warpgroup execute different wgmma instructions".into()),
        }
        *count += 1;
        Ok(())
    }

    /// Checks, at a barrier and at the end, that all four warps have started the same number of products.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        if self.counts.iter().any(|count| *count != self.products.len()) {
            return Err("not all warps of a warpgroup execute the same wgmma instructions".into());
        }
        *self = Self::default();
        Ok(())
    }
}
