//! Conversion of images to pixels for the video encoder (`resize_and_center_crop`).

use candle_core::{Device, Result, Tensor};
use ltx2_types::RgbImage;
use rayon::prelude::*;

/// Resizes `image` bilinearly to cover `height` by `width` and crops the centre. Returns `(1, 3, 1, height, width)` in
/// [-1, 1], float32.
pub(crate) fn conditioning_pixels(image: &RgbImage, height: usize, width: usize, device: &Device) -> Result<Tensor> {
    let (src_h, src_w) = (image.height as usize, image.width as usize);
    let scale = (height as f64 / src_h as f64).max(width as f64 / src_w as f64);
    let covering = |side: usize| (side as f64 * scale).ceil() as usize;
    let (rows, columns) = (covering(src_h), covering(src_w));
    let row = taps(src_h, rows, (rows - height) / 2, height);
    let column = taps(src_w, columns, (columns - width) / 2, width);
    let at = |y: usize, x: usize, channel: usize| f32::from(image.data[(y * src_w + x) * 3 + channel]);
    let mut pixels = vec![0f32; 3 * height * width];
    pixels.par_chunks_mut(width).enumerate().for_each(|(i, line)| {
        let (channel, (y0, y1, dy)) = (i / height, row[i % height]);
        for (pixel, &(x0, x1, dx)) in line.iter_mut().zip(&column) {
            let upper = (1.0 - dx) * at(y0, x0, channel) + dx * at(y0, x1, channel);
            let lower = (1.0 - dx) * at(y1, x0, channel) + dx * at(y1, x1, channel);
            *pixel = ((1.0 - dy) * upper + dy * lower) / 127.5 - 1.0;
        }
    });
    Tensor::from_vec(pixels, (1, 3, 1, height, width), device)
}

/// Returns the bilinear taps of `count` pixels from `first` on, along an axis that is resized from `src` to `resized`
/// pixels: the indices of two source pixels and the weight of the second. Pixel centres are aligned, without
/// antialiasing.
fn taps(src: usize, resized: usize, first: usize, count: usize) -> Vec<(usize, usize, f32)> {
    let ratio = src as f32 / resized as f32;
    (first..first + count)
        .map(|pixel| {
            let source = (ratio * (pixel as f32 + 0.5) - 0.5).max(0.0);
            let lower = (source as usize).min(src - 1);
            (lower, (lower + 1).min(src - 1), source - lower as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &RgbImage, height: usize, width: usize) -> Vec<f32> {
        let pixels = conditioning_pixels(image, height, width, &Device::Cpu).unwrap();
        let all = pixels.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        all[..width].iter().map(|value| (value + 1.0) * 127.5).collect()
    }

    #[test]
    fn images_cover_the_size_and_are_cropped_at_the_centre() {
        let gradient = RgbImage { width: 4, height: 2, data: (0..8).flat_map(|i| [i % 4 * 10, 0, 0]).collect() };
        let close = |a: Vec<f32>, b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(close(row(&gradient, 2, 2), &[10., 20.]));
        assert!(close(row(&gradient, 4, 8), &[0., 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30.]));
    }

    #[test]
    fn any_image_size_gives_the_requested_size() {
        for (width, height) in [(1, 1), (3, 100), (100, 3), (333, 77)] {
            let image = RgbImage { width, height, data: vec![255; (width * height * 3) as usize] };
            let pixels = conditioning_pixels(&image, 64, 96, &Device::Cpu).unwrap();
            assert_eq!(pixels.dims(), [1, 3, 1, 64, 96]);
            assert_eq!(pixels.min_all().unwrap().to_scalar::<f32>().unwrap(), 1.0);
        }
    }
}
