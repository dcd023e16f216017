//! LoRAs: low-rank updates of layers, merged into the weights as they are loaded (`fuse_loras.py`).
//!
//! A file is opened ([`Lora`]), matched with the tensors of the networks ([`FittedLora`]) and merged with a strength.
//! Every tensor of a file is applied or refused by name.

mod alpha;
mod file;
mod fitted;
mod parts;
mod targets;
mod update;

pub use file::{Lora, LoraKind};
pub(crate) use fitted::merge;
pub use fitted::{FittedLora, LoraStrength};
