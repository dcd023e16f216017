//! Small request bodies that decompress or nest to large sizes.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use serde_json::json;

use crate::operation::memory;
use crate::server::{Server, form};

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &sum.sum().to_be_bytes()].concat()
}

/// Returns `count` zeros, compressed to about a thousandth.
fn zeros(count: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..count >> 20 {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

fn png(width: u32, height: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &head), chunks.concat(), chunk(b"IEND", b"")].concat()
}

/// The requests have no prompt, so no task is created and all memory is used by checking the images.
#[test]
fn images_that_decompress_to_large_sizes_take_little_memory() {
    let server = Server::start();
    let post = |image: &[u8]| {
        let (status, answer) = server.post("/v1/video/async_i2v", "multipart/form-data; boundary=X", &form(&[], image));
        assert_eq!(status, 422, "{answer}");
        answer["detail"].as_array().unwrap().iter().map(|problem| problem["msg"].clone()).collect::<Vec<_>>()
    };
    post(&png(1, 1, &[chunk(b"IDAT", &zeros(1 << 20))]));
    let before = memory(server.process.id(), "VmHWM");
    let packed = zeros(256 << 20);
    assert!(packed.len() < 1 << 20, "{} bytes are no small body", packed.len());
    let large = post(&png(12000, 12000, &[chunk(b"IDAT", &packed)]));
    assert_eq!(
        large.last().unwrap(),
        &json!(
            "image: the image is 12000x12000, 144000000 pixels; the limit is 128000000 pixels (ltx2 serve --max-image)"
        )
    );
    let long = post(&png(4_000_000, 1, &[chunk(b"IDAT", &packed)]));
    assert_eq!(long.last().unwrap(), &json!("image: the image is 4000000x1; a side may have at most 16384 pixels"));
    // More data than the size needs, and compressed metadata.
    let named = [b"name\0\0", &packed[..]].concat();
    post(&png(1, 1, &[chunk(b"IDAT", &packed)]));
    for kind in [b"zTXt", b"iCCP"] {
        post(&png(1, 1, &[chunk(kind, &named), chunk(b"IDAT", &zeros(1 << 20))]));
    }
    let grown = memory(server.process.id(), "VmHWM") - before;
    assert!(grown < 64 << 10, "{grown} KiB");
    assert_eq!(server.path("/health")["status"], "running");
}

#[test]
fn deeply_nested_json_is_refused() {
    let server = Server::start();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let body = format!("{{\"prompt\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        let (status, answer) = server.post("/v1/video/async_t2v", "application/json", body.as_bytes());
        assert_eq!((status, &answer["detail"][0]["type"]), (422, &json!("json_invalid")), "{answer}");
    }
    assert_eq!(server.path("/health")["status"], "running");
}
