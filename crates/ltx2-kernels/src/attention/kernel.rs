//! Selection of the attention kernel.

use std::str::FromStr;

/// CUDA kernel that computes [`attention`](super::attention()).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AttentionKernel {
    /// The fastest kernel that the GPU supports.
    #[default]
    Auto,
    /// The `mma.sync` kernel, which every GPU from sm_80 on supports.
    Mma,
}

impl AttentionKernel {
    /// All values.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Mma];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mma => "mma",
        }
    }
}

impl FromStr for AttentionKernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kernel| kernel.name() == text);
        found.ok_or_else(|| format!("expected an attention kernel, auto or mma, found {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_names_are_parsed_and_others_refused() {
        for kernel in AttentionKernel::ALL {
            assert_eq!(kernel.name().parse(), Ok(kernel));
        }
        assert_eq!(
            "fast".parse::<AttentionKernel>(),
            Err("expected an attention kernel, auto or mma, found fast".into())
        );
    }
}
