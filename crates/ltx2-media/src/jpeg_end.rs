//! Whether a JPEG has all of itself.

/// Walks the markers of a JPEG up to the one that ends the picture. The decoder paints what is missing grey and says
/// nothing, so that half an upload would pass for a picture.
pub(crate) fn jpeg_has_end(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut at = 2;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.windows(2).position(is_marker)) {
        let marker = at + step;
        if bytes[marker + 1] == END {
            return true;
        }
        let Some(&[high, low]) = bytes.get(marker + 2..marker + 4) else { return false };
        at = marker + 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

/// A marker with a segment behind it, or the end: not a stuffed 0xff, fill, nor a restart between two stretches of data.
fn is_marker(pair: &[u8]) -> bool {
    pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xd0..=0xd8 | 0xff)
}

#[cfg(test)]
mod tests {
    use super::jpeg_has_end;

    #[test]
    fn an_end_inside_a_segment_is_not_the_end() {
        let thumbnail = [0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9];
        assert!(!jpeg_has_end(&thumbnail));
        assert!(jpeg_has_end(
            &[&thumbnail[..], &[0xff, 0xda, 0, 2, 7, 0xff, 0, 0xff, 0xd0, 0xff, 0xff, 0xd9]].concat()
        ));
        assert!(!jpeg_has_end(&[0xff, 0xd8]));
        assert!(!jpeg_has_end(&[0xff, 0xd8, 0xff, 0xe1, 0]));
    }
}
