//! Frame sizes inside a WebP. The decoder allocates memory for a frame before it compares its size with the canvas.

/// Length of the file header (`RIFF`, a length, `WEBP`), bytes.
const FILE_HEADER: usize = 12;
/// Length of the header of an animation frame, bytes.
const FRAME_HEADER: usize = 16;

/// Returns the width and height in the data of each frame of a WebP. Invalid data ends the list.
pub(crate) fn frame_sizes(bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut sizes = Vec::new();
    for (name, body) in chunks(bytes.get(FILE_HEADER..).unwrap_or_default()) {
        match name {
            b"ANMF" => {
                let inner = chunks(body.get(FRAME_HEADER..).unwrap_or_default());
                sizes.extend(inner.filter_map(|(name, body)| size(name, body)));
            }
            _ => sizes.extend(size(name, body)),
        }
    }
    sizes
}

/// Iterates over the names and bodies of RIFF chunks. The last body may be cut off.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(8)?;
        let (name, length) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        // A body of odd length is padded with a byte.
        bytes = rest.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some((name, rest.get(..length).unwrap_or(rest)))
    })
}

/// Returns the size in the header of lossy or lossless frame data, 14 bits per side.
fn size(name: &[u8], body: &[u8]) -> Option<(u32, u32)> {
    match name {
        b"VP8 " => {
            let side = |at: usize| Some(u32::from(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?) & 0x3fff));
            Some((side(6)?, side(8)?))
        }
        b"VP8L" => {
            let bits = u32::from_le_bytes(body.get(1..5)?.try_into().ok()?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_image;
    use ltx2_types::ImageLimits;

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let padding: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
        [name, &(body.len() as u32).to_le_bytes()[..], body, padding].concat()
    }

    /// Returns an animation with a canvas of 16x8 and one frame whose data states 16383x16383.
    fn bomb() -> Vec<u8> {
        let lossy = [&[0x50, 1, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f][..], &[0; 56]].concat();
        let frame = [&[0, 0, 0, 0, 0, 0, 15, 0, 0, 7, 0, 0, 0, 0, 0, 2][..], &chunk(b"VP8 ", &lossy)].concat();
        let parts = [
            &b"WEBP"[..],
            &chunk(b"VP8X", &[2, 0, 0, 0, 15, 0, 0, 7, 0, 0]),
            &chunk(b"ANIM", &[0; 6]),
            &chunk(b"ANMF", &frame),
        ];
        chunk(b"RIFF", &parts.concat())
    }

    #[test]
    fn sizes_are_found_in_animations_and_still_images() {
        assert_eq!(frame_sizes(&bomb()), [(16383, 16383)]);
        let lossless = chunk(b"RIFF", &[&b"WEBP"[..], &chunk(b"VP8L", &[0x2f, 0x0f, 0xc0, 0x01, 0])].concat());
        assert_eq!(frame_sizes(&lossless), [(16, 8)]);
        for end in 0..bomb().len() {
            frame_sizes(&bomb()[..end]);
        }
    }

    #[test]
    fn a_large_frame_on_a_small_canvas_is_refused() {
        let error = read_image(&bomb(), ImageLimits::default()).unwrap_err().to_string();
        assert!(error.starts_with("the image is 16383x16383"), "{error}");
    }
}
