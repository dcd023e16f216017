//! Detection of truncated JPEGs.

/// Returns whether a JPEG has an end-of-image marker outside of its segments.
///
/// The decoder fills missing data with grey without an error, so that half an upload would be accepted.
pub(crate) fn jpeg_has_end(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 2;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.windows(2).position(is_marker)) {
        let marker = at + step;
        if bytes[marker + 1] == END_OF_IMAGE {
            return true;
        }
        let Some(&[high, low]) = bytes.get(marker + 2..marker + 4) else { return false };
        at = marker + 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

/// Whether the bytes are a marker that starts a segment or ends the image, as opposed to a stuffed 0xff, a fill byte or
/// a restart marker.
fn is_marker(pair: &[u8]) -> bool {
    pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xd0..=0xd8 | 0xff)
}

#[cfg(test)]
mod tests {
    use super::jpeg_has_end;

    #[test]
    fn an_end_marker_inside_a_segment_is_ignored() {
        let thumbnail = [0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9];
        assert!(!jpeg_has_end(&thumbnail));
        assert!(jpeg_has_end(
            &[&thumbnail[..], &[0xff, 0xda, 0, 2, 7, 0xff, 0, 0xff, 0xd0, 0xff, 0xff, 0xd9]].concat()
        ));
        assert!(!jpeg_has_end(&[0xff, 0xd8]));
        assert!(!jpeg_has_end(&[0xff, 0xd8, 0xff, 0xe1, 0]));
    }
}
