//! What a step measures, from where it was computed.

use candle_core::{DType, Result, Tensor};

/// A measured value without its past, in f64 on the device: a sum in f64 loses nothing of it.
///
/// # Errors
/// A tensor of more than one value.
pub fn measured(value: &Tensor) -> Result<Tensor> {
    value.detach().reshape(())?.to_dtype(DType::F64)
}

/// [`measured`] values of one device, fetched together: a GPU is waited for once, not once for each.
///
/// # Errors
/// Those of the device.
pub fn fetch(values: &[Tensor]) -> Result<Vec<f64>> {
    match values {
        [] => Ok(Vec::new()),
        values => Tensor::stack(values, 0)?.to_vec1(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn values_of_any_number_type_come_together_and_in_order() -> Result<()> {
        let half = Tensor::new(&[0.5f32], &Device::Cpu)?.to_dtype(DType::BF16)?;
        let values = [measured(&Tensor::new(0.1f64, &Device::Cpu)?)?, measured(&half)?];
        assert_eq!(fetch(&values)?, [0.1, 0.5]);
        assert!(fetch(&[])?.is_empty() && measured(&Tensor::new(&[1.0, 2.0], &Device::Cpu)?).is_err());
        Ok(())
    }
}
