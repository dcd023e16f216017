//! Layers and helpers shared by the networks. Networks import from here and never from each other.

mod adaln;
mod attention;
mod feed_forward;
mod layout;
mod rope;
mod statistics;

pub use adaln::{AdaLayerNormOutput, AdaLayerNormSingle};
pub use attention::{Attention, AttentionConfig, KeysValues};
pub use feed_forward::FeedForward;
pub use rope::{Positions, RopeConfig};
pub use statistics::PerChannelStatistics;

pub(crate) use layout::{channels_first, frames_first};
