//! Files and bytes to frames and samples, and back: pictures in ([`read_image`]), the H.264 pass that conditioning
//! stills go through ([`still_as_video_frame`]), and video with sound and its thumbnail out ([`Mp4Writer`],
//! [`WithThumbnail`]).

mod conditioning;
mod error;
mod ffmpeg;
mod h264_still;
mod image;
mod inputs;
mod jpeg_end;
mod mp4;
mod pending_file;
mod thumbnail;
mod webp_frames;

pub use conditioning::{ConditioningError, conditioning_image};
pub use error::MediaError;
pub use h264_still::still_as_video_frame;
pub use image::{ImageError, read_image};
pub use inputs::FileInputs;
pub use mp4::{Mp4Writer, Written};
pub use pending_file::remove_leftovers;
pub use thumbnail::{JpegError, WithThumbnail, small_jpeg};
