//! Decoder of one stream of a file.

use std::path::Path;

use ffmpeg_next::codec::threading;
use ffmpeg_next::decoder::{self, Opened};
use ffmpeg_next::format::{self, context::Input};
use ffmpeg_next::{Dictionary, Error, Frame, Packet, Stream, codec, ffi};

use super::error::DemuxError;
use crate::ffmpeg::{file_url, init};

/// Demuxers that may open a file. Others, such as playlists, could read further files.
const FORMATS: &str = "mov,matroska,avi,mpegts,wav,mp3,flac,ogg,aac";

/// Opens a file and reads its headers.
pub(super) fn open(path: &Path) -> Result<Input, DemuxError> {
    init();
    let url = file_url(path).ok_or(DemuxError::Path)?;
    let mut options = Dictionary::new();
    options.set("format_whitelist", FORMATS);
    options.set("protocol_whitelist", "file");
    let input = format::input_with_dictionary(&url, options).map_err(DemuxError::Open)?;
    if is_cut_off(&input) { Err(DemuxError::CutOff) } else { Ok(input) }
}

/// Whether the index of a stream refers to data behind the end of the file. The demuxers report only the end of the
/// file.
fn is_cut_off(input: &Input) -> bool {
    let Some(size) = input.io_size() else { return false };
    input.streams().any(|stream| {
        // SAFETY: `as_ptr` returns the valid `AVStream` that `input` owns. The functions read its index, and the entry
        // that they return is valid until the index changes, which needs `&mut Input`.
        let last = unsafe {
            let stream = stream.as_ptr().cast_mut();
            ffi::avformat_index_get_entry(stream, ffi::avformat_index_get_entries_count(stream) - 1).as_ref()
        };
        last.is_some_and(|entry| entry.pos + i64::from(entry.size()) > size)
    })
}

/// Returns an unopened decoder for `stream` that uses all cores.
pub(super) fn decoder_for(stream: &Stream<'_>) -> Result<decoder::Decoder, Error> {
    let mut decoder = codec::Context::from_parameters(stream.parameters())?.decoder();
    decoder.set_packet_time_base(stream.time_base());
    decoder.set_threading(threading::Config::kind(threading::Type::Frame));
    Ok(decoder)
}

/// Decodes one stream of a file, packet by packet.
pub(super) struct StreamReader {
    input: Input,
    stream: usize,
    decoder: Opened,
    kind: &'static str,
    is_draining: bool,
}

impl StreamReader {
    /// Returns a reader of the stream with index `stream`. `kind` names it in errors.
    pub(super) fn new(input: Input, stream: usize, decoder: Opened, kind: &'static str) -> Self {
        Self { input, stream, decoder, kind, is_draining: false }
    }

    /// Decodes the next frame into `frame`. Returns `false` at the end of the stream.
    pub(super) fn next(&mut self, frame: &mut Frame) -> Result<bool, DemuxError> {
        loop {
            match self.decoder.receive_frame(frame) {
                Ok(()) => return Ok(true),
                Err(Error::Eof) => return Ok(false),
                Err(Error::Other { errno: ffmpeg_next::error::EAGAIN }) if !self.is_draining => {}
                Err(source) => return Err(self.decode_error(source)),
            }
            match self.next_packet()? {
                Some(packet) => self.decoder.send_packet(&packet),
                None => {
                    self.is_draining = true;
                    self.decoder.send_eof()
                }
            }
            .map_err(|source| self.decode_error(source))?;
        }
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, DemuxError> {
        let mut packet = Packet::empty();
        loop {
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() != self.stream => {}
                Ok(()) if packet.is_corrupt() => return Err(DemuxError::CutOff),
                Ok(()) => return Ok(Some(packet)),
                Err(Error::Eof) => return Ok(None),
                Err(source) => return Err(self.decode_error(source)),
            }
        }
    }

    fn decode_error(&self, source: Error) -> DemuxError {
        DemuxError::Decode { kind: self.kind, source }
    }
}
