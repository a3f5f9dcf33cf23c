//! What the camera does to light: background, blur, exposure, tone, noise.

use std::sync::OnceLock;

use nets::pixels::IMAGE_SIZE;

use super::moment::{Background, Camera};
use super::noise;
use super::vector::{V3, step};

/// Light of the background at a pixel, out of focus.
pub(super) fn background(background: &Background, x: f32, y: f32) -> V3 {
    let slope = (x - 63.5) * background.slope.0 + (y - 63.5) * background.slope.1;
    let mut colour = background.near.mix(background.far, step(-90.0, 90.0, slope));
    for &(cx, cy, radius, tint) in &background.discs {
        let distance = ((x - cx) * (x - cx) + (y - cy) * (y - cy)).sqrt();
        let cover = step(radius * 1.35, radius * 0.7, distance);
        if cover > 0.0 {
            colour = colour.mix(tint, 0.55 * cover);
        }
    }
    colour
}

/// From light to bytes: `128 * 128` pixels, RGB.
pub(super) fn develop(mut light: Vec<V3>, camera: &Camera, grain: u32) -> Vec<u8> {
    blur(&mut light, camera.blur);
    let mut bytes = Vec::with_capacity(light.len() * 3);
    for (index, pixel) in light.into_iter().enumerate() {
        let (x, y) = ((index % IMAGE_SIZE) as i32, (index / IMAGE_SIZE) as i32);
        let (dx, dy) = (x as f32 / 63.5 - 1.0, y as f32 / 63.5 - 1.0);
        let vignette = 1.0 - 0.10 * (dx * dx + dy * dy);
        let exposed = pixel.times(camera.balance) * (0.80 * camera.exposure * vignette);
        let grey = 0.299 * exposed.0 + 0.587 * exposed.1 + 0.114 * exposed.2;
        let coloured = (V3::ONE * grey).mix(exposed, camera.saturation);
        for (channel, value) in [coloured.0, coloured.1, coloured.2].into_iter().enumerate() {
            let shown = (display(value) - 0.5) * camera.contrast + 0.5;
            let noisy = shown + camera.noise * noise::grain(x, y, grain.wrapping_add(channel as u32));
            // Truncation after adding a half: rounding proper is a call.
            bytes.push((noisy * 255.0 + 0.5) as u8);
        }
    }
    bytes
}

/// Film-like tone: a soft shoulder, then the display's gamma, from a table.
fn display(light: f32) -> f32 {
    const STEPS: usize = 2048;
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        (0..=STEPS)
            .map(|index| {
                // The table is spaced by the square root, where the gamma is steep.
                let root = index as f32 / STEPS as f32 * 2.0;
                let light = root * root;
                let toned = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14);
                libm::powf(toned.clamp(0.0, 1.0), 1.0 / 2.2)
            })
            .collect()
    });
    let place = (light.max(0.0).sqrt() * 0.5).min(1.0) * STEPS as f32;
    let below = (place as usize).min(STEPS - 1);
    let share = place - below as f32;
    table[below] * (1.0 - share) + table[below + 1] * share
}

/// Gaussian blur along rows, then columns; edges are replicated.
fn blur(light: &mut [V3], deviation: f32) {
    if deviation < 0.3 {
        return;
    }
    let reach = (deviation * 2.5) as usize + 1;
    let mut kernel: Vec<f32> =
        (0..=reach).map(|distance| libm::expf(-0.5 * (distance * distance) as f32 / (deviation * deviation))).collect();
    let sum = kernel[0] + 2.0 * kernel[1..].iter().sum::<f32>();
    kernel.iter_mut().for_each(|weight| *weight /= sum);
    let last = IMAGE_SIZE - 1;
    let mut line = [V3::ZERO; IMAGE_SIZE];
    for (stride, across) in [(1, IMAGE_SIZE), (IMAGE_SIZE, 1)] {
        for start in (0..IMAGE_SIZE).map(|index| index * across) {
            for (index, slot) in line.iter_mut().enumerate() {
                *slot = light[start + index * stride];
            }
            for index in 0..IMAGE_SIZE {
                let mut sum = line[index] * kernel[0];
                for (distance, &weight) in kernel.iter().enumerate().skip(1) {
                    sum = sum + (line[index.saturating_sub(distance)] + line[(index + distance).min(last)]) * weight;
                }
                light[start + index * stride] = sum;
            }
        }
    }
}
