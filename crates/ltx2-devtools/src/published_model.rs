//! Published models that a demo or synthetic model imitates.

use std::str::FromStr;

/// A published model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PublishedModel {
    /// LTX-2 19B.
    #[default]
    Ltx2_19b,
    /// LTX-2.3 22B.
    Ltx23_22b,
}

impl PublishedModel {
    /// All published models.
    pub const ALL: [Self; 2] = [Self::Ltx2_19b, Self::Ltx23_22b];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ltx2_19b => "ltx-2-19b",
            Self::Ltx23_22b => "ltx-2.3-22b",
        }
    }
}

impl FromStr for PublishedModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|model| model.name() == text);
        known.ok_or_else(|| format!("base is {text}, but it must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}
