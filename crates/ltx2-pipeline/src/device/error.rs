//! Errors of opening a device.

/// The requested device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The machine or this build has no such device.
    #[error("device is cuda, but {0}")]
    Unavailable(String),
    /// The driver failed to open the device.
    #[error("cannot open the GPU: {0}")]
    Open(#[source] candle_core::Error),
}
