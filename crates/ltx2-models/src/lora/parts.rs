//! Parts of a LoRA layer and their names in files.

/// Part of a layer's update, named by the last segments of a tensor name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Down matrix `(rank, d_in)`.
    Down,
    /// Up matrix `(d_out, rank)`.
    Up,
    /// Numerator of the scale; the rank is the denominator.
    Alpha,
    /// Update of the whole weight.
    Diff,
    /// Update of the bias.
    DiffBias,
    /// Factors of a Kronecker product (LoKr), each whole or as a pair.
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    /// Two pairs, multiplied element by element (LoHa).
    LohaW1A,
    LohaW1B,
    LohaW2A,
    LohaW2B,
}

/// Meaning of a tensor name in a LoRA file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A part of the update of a layer.
    Part {
        /// Name of the layer in the file.
        layer: String,
        /// The part.
        part: Part,
    },
    /// A part of a known method that is not supported.
    Unsupported(&'static str),
    /// Not a name of a LoRA file.
    Unknown,
}

/// Matrices of a pair, by segment.
const MATRICES: [(&str, Part); 4] =
    [("lora_A", Part::Down), ("lora_B", Part::Up), ("lora_down", Part::Down), ("lora_up", Part::Up)];

/// Parts that are a single last segment.
const SINGLE: [(&str, Part); 13] = [
    ("alpha", Part::Alpha),
    ("diff", Part::Diff),
    ("diff_b", Part::DiffBias),
    ("lokr_w1", Part::LokrW1),
    ("lokr_w1_a", Part::LokrW1A),
    ("lokr_w1_b", Part::LokrW1B),
    ("lokr_w2", Part::LokrW2),
    ("lokr_w2_a", Part::LokrW2A),
    ("lokr_w2_b", Part::LokrW2B),
    ("hada_w1_a", Part::LohaW1A),
    ("hada_w1_b", Part::LohaW1B),
    ("hada_w2_a", Part::LohaW2A),
    ("hada_w2_b", Part::LohaW2B),
];

/// Segments of methods that are not supported.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("lora_magnitude_vector", "DoRA (a magnitude per row) is not supported"),
    ("dora_scale", "DoRA (a magnitude per row) is not supported"),
    ("lora_mid", "a third matrix (Tucker decomposition) is not supported"),
    ("lokr_t2", "a third tensor (Tucker decomposition) is not supported"),
    ("hada_t1", "a third tensor (Tucker decomposition) is not supported"),
    ("hada_t2", "a third tensor (Tucker decomposition) is not supported"),
    ("oft_blocks", "OFT is not supported"),
    ("oft_diag", "OFT is not supported"),
    ("vera_lambda_b", "VeRA is not supported"),
    ("lora_embedding_A", "a LoRA of an embedding is not supported"),
    ("lora_embedding_B", "a LoRA of an embedding is not supported"),
    ("set_weight", "replaced weights (set_weight) are not supported"),
    ("scalar", "a trained scale (scalar) is not supported"),
];

impl Meaning {
    /// Determines the meaning of `name`.
    pub(super) fn of(name: &str) -> Self {
        let segments: Vec<&str> = name.split('.').collect();
        if let Some((_, reason)) = UNSUPPORTED.iter().find(|(segment, _)| segments.contains(segment)) {
            return Self::Unsupported(reason);
        }
        let matrix = segments.iter().enumerate().find_map(|(at, segment)| {
            // A pair is `lora_A` and `lora_B`, or `lora.down` and `lora.up`.
            let (length, segment) = match (*segment, segments.get(at + 1)) {
                ("lora", Some(&"down")) => (2, "lora_down"),
                ("lora", Some(&"up")) => (2, "lora_up"),
                (segment, _) => (1, segment),
            };
            MATRICES.iter().find(|(known, _)| *known == segment).map(|(_, part)| (at, length, *part))
        });
        if let Some((at, length, part)) = matrix {
            // peft puts the name of the adapter between the matrix and `weight`.
            return match segments[at + length..] {
                [] | ["weight"] => Self::part(&segments[..at], part),
                [adapter, "weight"] if adapter != "weight" => Self::part(&segments[..at], part),
                [.., "bias"] => Self::Unsupported("a bias of the matrices (lora_bias) is not supported"),
                _ => Self::Unknown,
            };
        }
        match segments.split_last() {
            Some((last, layer)) if !layer.is_empty() => match SINGLE.iter().find(|(known, _)| known == last) {
                Some((_, part)) => Self::part(layer, *part),
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    fn part(layer: &[&str], part: Part) -> Self {
        Self::Part { layer: layer.join("."), part }
    }

    /// Whether only LoRA files have such tensors. Vocoders have tensors named `alpha`.
    pub(super) fn marks_a_lora(&self) -> bool {
        match self {
            Self::Part { part, .. } => *part != Part::Alpha,
            Self::Unsupported(_) => true,
            Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_trainers_are_parsed() {
        for (name, layer, part) in [
            ("transformer.a.lora_A.weight", "transformer.a", Part::Down),
            ("a.lora_B.default.weight", "a", Part::Up),
            ("a.lora.down.weight", "a", Part::Down),
            ("a.lora.up.weight", "a", Part::Up),
            ("lora_unet_a_b.lora_up.weight", "lora_unet_a_b", Part::Up),
            ("lora_unet_a_b.alpha", "lora_unet_a_b", Part::Alpha),
            ("a.to_out.0.diff_b", "a.to_out.0", Part::DiffBias),
            ("lycoris_a.lokr_w2_a", "lycoris_a", Part::LokrW2A),
            ("a.hada_w1_b", "a", Part::LohaW1B),
        ] {
            assert_eq!(Meaning::of(name), Meaning::Part { layer: layer.into(), part }, "{name}");
        }
        for name in ["a.dora_scale", "a.lora_magnitude_vector.default.weight", "a.lora_B.bias", "a.lokr_t2"] {
            assert!(matches!(Meaning::of(name), Meaning::Unsupported(_)), "{name}");
        }
        for name in ["a.weight", "alpha", "a.lora_A.weight_scale", "a.lora_A.x.y.weight"] {
            assert_eq!(Meaning::of(name), Meaning::Unknown, "{name}");
        }
    }
}
