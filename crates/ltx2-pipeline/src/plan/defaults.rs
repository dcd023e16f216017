//! Numbers that belong to a model generation, a row each.

/// What a generation of models takes where the request has no say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Generation {
    /// How `model_version` begins.
    pub version: &'static str,
    /// The block whose self-attention STG leaves out.
    pub stg_block: usize,
    /// Blocks of the published model, for smaller ones.
    pub num_layers: usize,
}

const GENERATIONS: [Generation; 1] = [Generation { version: "2.0", stg_block: 29, num_layers: 48 }];

impl Generation {
    /// The row of a checkpoint's `model_version`; one without a version is taken for the first generation's, as the
    /// official code does.
    pub(super) fn of(version: &str) -> Option<Self> {
        let version = if version.is_empty() { GENERATIONS[0].version } else { version };
        GENERATIONS.into_iter().find(|row| version.starts_with(row.version))
    }

    /// The STG block of a model with `num_layers` blocks: the published one's share of the depth.
    pub(super) fn stg_block(self, num_layers: usize) -> usize {
        self.stg_block * num_layers / self.num_layers
    }
}
