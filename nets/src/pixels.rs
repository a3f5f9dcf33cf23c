//! The one place where pixel ranges meet.
//!
//! Images travel and rest as bytes. E, G and D see `[-1, 1]`; LightCNN sees grey in `[0, 1]`.
//! All image tensors are NHWC: `(batch, height, width, channels)`.

use candle_core::{DType, Device, Result, Tensor};

/// Height and width of every image, in pixels.
pub const IMAGE_SIZE: usize = 128;

/// Weights of red, green and blue in the grey value (ITU-R BT.601).
pub const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// Bytes to the `[-1, 1]` of E, G and D: `byte / 127.5 - 1`. The inverse of [`to_bytes`].
///
/// `bytes` holds `batch * size * size * channels` values in NHWC order.
pub fn to_signed(bytes: &[u8], batch: usize, channels: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    if !device.is_cpu() {
        return signed_there(bytes, batch, channels, device)?.to_dtype(dtype);
    }
    let values: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    Tensor::from_vec(values, (batch, IMAGE_SIZE, IMAGE_SIZE, channels), device)?.to_dtype(dtype)
}

/// Bytes to LightCNN's grey `[0, 1]`: `byte / 255`, RGB through [`LUMA`].
pub fn to_grey(bytes: &[u8], batch: usize, channels: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    if !device.is_cpu() {
        return signed_to_grey(&signed_there(bytes, batch, channels, device)?)?.to_dtype(dtype);
    }
    let values: Vec<f32> = match channels {
        3 => bytes.chunks_exact(3).map(|rgb| luma([rgb[0], rgb[1], rgb[2]].map(f64::from)) as f32 / 255.0).collect(),
        _ => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
    };
    Tensor::from_vec(values, (batch, IMAGE_SIZE, IMAGE_SIZE, 1), device)?.to_dtype(dtype)
}

/// As [`to_signed`], in f32, worked out on the device: a quarter of what f32 takes goes to it.
fn signed_there(bytes: &[u8], batch: usize, channels: usize, device: &Device) -> Result<Tensor> {
    let bytes = Tensor::from_slice(bytes, (batch, IMAGE_SIZE, IMAGE_SIZE, channels), device)?;
    bytes.to_dtype(DType::F32)?.affine(1.0 / 127.5, -1.0)
}

/// `[-1, 1]` images of E, G, D to LightCNN's grey `[0, 1]`, differentiable and unclamped
/// (clamping would kill gradients; tanh bounds G already). Shape `(B, H, W, 1 | 3)` to
/// `(B, H, W, 1)`.
pub fn signed_to_grey(images: &Tensor) -> Result<Tensor> {
    let grey = match images.dim(3)? {
        3 => {
            let weights = Tensor::new(&LUMA, images.device())?.to_dtype(images.dtype())?.reshape((1, 1, 1, 3))?;
            images.broadcast_mul(&weights)?.sum_keepdim(3)?
        }
        _ => images.clone(),
    };
    grey.affine(0.5, 0.5)
}

/// `[-1, 1]` images to bytes: `round_half_even((x + 1) * 127.5)`, held to `0..=255`.
pub fn to_bytes(images: &Tensor) -> Result<Vec<u8>> {
    crate::ops::quantise(images)?.flatten_all()?.to_vec1::<u8>()
}

/// One signed value to its byte. NaN becomes 0.
pub fn quantize(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round_ties_even() as u8
}

/// Grey of one RGB pixel on the scale of its components.
pub fn luma(rgb: [f64; 3]) -> f64 {
    LUMA[0] * rgb[0] + LUMA[1] * rgb[1] + LUMA[2] * rgb[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for byte in 0..=255u8 {
            assert_eq!(quantize(f32::from(byte) / 127.5 - 1.0), byte);
        }
    }

    #[test]
    fn a_device_makes_the_same_of_bytes_as_the_host() -> Result<()> {
        for channels in [1, 3] {
            let bytes: Vec<u8> =
                (0..IMAGE_SIZE * IMAGE_SIZE * channels).map(|nth| ((nth * 2654435761) >> 7) as u8).collect();
            let there = signed_there(&bytes, 1, channels, &Device::Cpu)?;
            let difference = |here: Tensor, there: &Tensor| (here - there)?.abs()?.max_all()?.to_scalar::<f32>();
            assert!(difference(to_signed(&bytes, 1, channels, DType::F32, &Device::Cpu)?, &there)? < 1e-6);
            let here = to_grey(&bytes, 1, channels, DType::F32, &Device::Cpu)?;
            assert!(difference(here, &signed_to_grey(&there)?)? < 1e-6);
        }
        Ok(())
    }

    #[test]
    fn out_of_range_values_saturate_and_ties_go_to_even() {
        assert_eq!([quantize(-1.5), quantize(1.5), quantize(f32::NAN)], [0, 255, 0]);
        assert_eq!(quantize(0.0), 128); // 127.5 is a tie; 128 is even.
    }
}
