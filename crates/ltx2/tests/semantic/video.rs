//! Measures of a decoded video: background, colour, shape and motion of its one object.

use std::f32::consts::PI;

/// Colours of the demo model's world.
pub const COLOURS: [(&str, [f32; 3]); 8] = [
    ("red", [222.0, 38.0, 42.0]),
    ("orange", [246.0, 140.0, 28.0]),
    ("yellow", [246.0, 220.0, 52.0]),
    ("green", [46.0, 168.0, 72.0]),
    ("blue", [40.0, 86.0, 222.0]),
    ("purple", [140.0, 58.0, 190.0]),
    ("white", [244.0, 244.0, 244.0]),
    ("black", [18.0, 18.0, 20.0]),
];

/// Pixels at the border that belong to the background.
const BORDER: usize = 4;
/// Minimum contrast of the object to the background, summed over the channels.
const CONTRAST: f32 = 90.0;

/// Frames of RGB pixels.
pub struct Video {
    pub width: usize,
    pub height: usize,
    pub frames: Vec<Vec<[f32; 3]>>,
}

/// Pixels of the object in one frame.
struct Mask {
    pixels: Vec<bool>,
    area: f32,
    /// Centroid in pixels: y, x.
    centre: (f32, f32),
}

/// The object of a video.
pub struct Object {
    masks: Vec<Mask>,
    width: usize,
    height: usize,
    pub colour: &'static str,
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn median_colour(pixels: &[[f32; 3]]) -> [f32; 3] {
    [0, 1, 2].map(|channel| median(pixels.iter().map(|pixel| pixel[channel]).collect()))
}

/// Returns the sum of the absolute differences of the channels.
pub fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}

/// Returns the error of `colour` against the named one at the best of three brightnesses: the background of the world is
/// darker towards the bottom.
fn colour_error(name: &str, colour: [f32; 3]) -> f32 {
    let (_, expected) = COLOURS.iter().find(|(known, _)| *known == name).unwrap();
    let at = |light: f32| distance(expected.map(|value| value * light), colour);
    at(1.0).min(at(0.95)).min(at(0.9))
}

fn nearest(colour: [f32; 3]) -> &'static str {
    let error = |name: &str| colour_error(name, colour);
    COLOURS.iter().map(|(name, _)| *name).min_by(|a, b| error(a).total_cmp(&error(b))).unwrap()
}

impl Video {
    fn at(&self, frame: usize, y: usize, x: usize) -> [f32; 3] {
        self.frames[frame][y * self.width + x]
    }

    /// Returns the median of the border.
    fn background_colour(&self) -> [f32; 3] {
        let (w, h) = (self.width, self.height);
        let is_border = |y: usize, x: usize| y.min(h - 1 - y).min(x).min(w - 1 - x) < BORDER;
        let pixels: Vec<_> = (0..self.frames.len())
            .flat_map(|frame| (0..h * w).map(move |i| (frame, i / w, i % w)))
            .filter(|(_, y, x)| is_border(*y, *x))
            .map(|(frame, y, x)| self.at(frame, y, x))
            .collect();
        median_colour(&pixels)
    }

    /// Returns the name of the background's colour.
    pub fn background(&self) -> &'static str {
        nearest(self.background_colour())
    }

    /// Returns the contrast of each pixel to its row's background.
    fn contrasts(&self) -> Vec<Vec<f32>> {
        let sides: Vec<usize> = (0..6).chain(self.width - 6..self.width).collect();
        let rows: Vec<[f32; 3]> = (0..self.height)
            .map(|y| {
                let pixels = (0..self.frames.len()).flat_map(|frame| sides.iter().map(move |x| (frame, *x)));
                median_colour(&pixels.map(|(frame, x)| self.at(frame, y, x)).collect::<Vec<_>>())
            })
            .collect();
        let contrast = |(i, pixel): (usize, &[f32; 3])| distance(*pixel, rows[i / self.width]);
        self.frames.iter().map(|frame| frame.iter().enumerate().map(contrast).collect()).collect()
    }

    /// Returns the object, or `None` if fewer than half of the frames have one.
    pub fn object(&self) -> Option<Object> {
        let contrasts = self.contrasts();
        let mut sorted: Vec<f32> = contrasts.iter().flatten().copied().collect();
        sorted.sort_by(f32::total_cmp);
        let least = CONTRAST.max(0.4 * sorted[sorted.len() * 995 / 1000]);
        let masks: Vec<Mask> = contrasts.iter().filter_map(|frame| self.mask(frame, least)).collect();
        if 2 * masks.len() < self.frames.len() {
            return None;
        }
        let visible: Vec<f32> = sorted.into_iter().filter(|value| *value > least).collect();
        let core = 0.8 * visible[visible.len() * 9 / 10];
        let pixels = contrasts.iter().zip(&self.frames).flat_map(|(values, frame)| values.iter().zip(frame));
        let core: Vec<_> = pixels.filter(|(value, _)| **value > core).map(|(_, pixel)| *pixel).collect();
        Some(Object { masks, width: self.width, height: self.height, colour: nearest(median_colour(&core)) })
    }

    fn mask(&self, contrast: &[f32], least: f32) -> Option<Mask> {
        let pixels: Vec<bool> = contrast.iter().map(|value| *value > least).collect();
        let (mut area, mut y, mut x) = (0.0, 0.0, 0.0);
        for i in (0..pixels.len()).filter(|i| pixels[*i]) {
            area += 1.0;
            y += (i / self.width) as f32;
            x += (i % self.width) as f32;
        }
        (area > 15.0).then(|| Mask { pixels, area, centre: (y / area, x / area) })
    }

    /// Returns the peak signal-to-noise ratio of a frame in dB.
    pub fn psnr(&self, frame: usize, expected: &[[f32; 3]]) -> f32 {
        let errors =
            self.frames[frame].iter().zip(expected).flat_map(|(a, b)| [0, 1, 2].map(|i| (a[i] - b[i]).powi(2)));
        let mean = errors.sum::<f32>() / (3 * expected.len()) as f32;
        10.0 * (255.0f32.powi(2) / mean.max(1e-6)).log10()
    }
}

impl Object {
    /// Returns the relative centroid (y, x) at the start (`false`) or the end of the video, a mean over four frames.
    fn place(&self, is_end: bool) -> (f32, f32) {
        let first = if is_end { self.masks.len().saturating_sub(4) } else { 0 };
        let part: Vec<_> = self.masks[first..].iter().take(4).map(|mask| mask.centre).collect();
        let n = part.len() as f32;
        let (y, x) = part.iter().fold((0.0, 0.0), |sum, centre| (sum.0 + centre.0, sum.1 + centre.1));
        (y / n / self.height as f32, x / n / self.width as f32)
    }

    /// Returns the change of the centroid (y, x) from start to end, relative to the image.
    pub fn displacement(&self) -> (f32, f32) {
        let (start, end) = (self.place(false), self.place(true));
        (end.0 - start.0, end.1 - start.1)
    }

    /// Returns the ratio of the areas at the end and at the start.
    pub fn growth(&self) -> f32 {
        let area = |masks: &[Mask]| masks.iter().map(|mask| mask.area).sum::<f32>() / masks.len() as f32;
        let n = self.masks.len().min(4);
        area(&self.masks[self.masks.len() - n..]) / area(&self.masks[..n])
    }

    /// Returns the name of the motion.
    pub fn motion(&self) -> &'static str {
        let ((dy, dx), growth) = (self.displacement(), self.growth());
        match () {
            () if dx.abs() > 0.22 && dx.abs() > dy.abs() => {
                if dx > 0.0 {
                    "right"
                } else {
                    "left"
                }
            }
            () if dy.abs() > 0.2 => {
                if dy > 0.0 {
                    "down"
                } else {
                    "up"
                }
            }
            () if growth > 1.9 => "grow",
            () if growth < 0.53 => "shrink",
            () => "still",
        }
    }

    /// Returns the shape whose template of equal area and centroid overlaps most with the object.
    pub fn shape(&self) -> &'static str {
        let score = |name: &str| self.masks.iter().step_by(2).map(|mask| self.overlap(mask, name)).sum::<f32>();
        ["ball", "square", "triangle", "ring"].into_iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap()
    }

    /// Returns the intersection over union of a mask and a shape.
    fn overlap(&self, mask: &Mask, shape: &str) -> f32 {
        let (mut both, mut either) = (0.0, 0.0);
        for (i, pixel) in mask.pixels.iter().enumerate() {
            let dy = (i / self.width) as f32 - mask.centre.0;
            let dx = (i % self.width) as f32 - mask.centre.1;
            let is_drawn = is_inside(shape, mask.area, dy, dx);
            both += f32::from(u8::from(*pixel && is_drawn));
            either += f32::from(u8::from(*pixel || is_drawn));
        }
        both / either
    }
}

/// Returns whether a shape of `area` pixels contains the point (dy, dx) from its centroid.
pub fn is_inside(shape: &str, area: f32, dy: f32, dx: f32) -> bool {
    match shape {
        "ball" => dx * dx + dy * dy <= area / PI,
        "square" => dx.abs().max(dy.abs()) <= area.sqrt() / 2.0,
        // Equilateral, pointing up.
        "triangle" => dy.max(3.0f32.sqrt() / 2.0 * dx.abs() - 0.5 * dy) <= (area / (3.0 * 3.0f32.sqrt())).sqrt(),
        // The hole has 0.52 of the radius.
        _ => {
            let outer = area / PI / (1.0 - 0.52 * 0.52);
            (0.52 * 0.52 * outer..=outer).contains(&(dx * dx + dy * dy))
        }
    }
}
