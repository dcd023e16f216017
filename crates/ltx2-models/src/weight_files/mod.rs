//! Weight files: readers for safetensors and GGUF, and an index of the tensors of several files.
//!
//! Opening a file reads its header only. Tensors are read on demand, straight to the target device.

mod encoding;
mod error;
mod file_span;
pub(crate) mod gguf;
mod layer_format;
pub(crate) mod model_file;
mod range;
pub(crate) mod reader;
mod safetensors_file;
mod safetensors_header;
pub(crate) mod tensor_files;
pub(crate) mod tensor_index;

pub use error::{CheckpointError, message};
pub use range::TensorShapes;
pub(crate) use safetensors_file::SafetensorsFile;
pub use safetensors_header::{read_metadata, tensor_shapes};
