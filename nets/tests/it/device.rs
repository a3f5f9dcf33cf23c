//! What computes here computes rightly: the CPU in f32, and a GPU, where there is one, in all its types.

use candle_core::{DType, Device};
use nets::device_check::{Check, Finding};

fn all_right(findings: Vec<Finding>) {
    let wrong: Vec<_> = findings.iter().filter(|finding| !finding.is_right()).collect();
    assert!(wrong.is_empty(), "of {} findings wrong: {wrong:#?}", findings.len());
}

#[test]
fn the_cpu_is_right_in_f32() -> anyhow::Result<()> {
    let check = Check { device: Device::Cpu, dtype: DType::F32, tf32: false };
    all_right(check.ops()?);
    all_right(check.rows()?);
    Ok(())
}

#[cfg(feature = "cuda")]
mod on_a_gpu {
    use super::all_right;
    use candle_core::DType;
    use nets::device_check::Check;

    /// Checks of the first GPU: f64, f32, f32 with TF32, bf16 and f16. None where there is none.
    fn checks() -> Vec<Check> {
        let numbers = [("cuda", DType::F64), ("cuda", DType::F32), ("cuda/tf32", DType::F32)];
        let numbers = numbers.into_iter().chain([("cuda", DType::BF16), ("cuda", DType::F16)]);
        let open = |(name, dtype): (&str, DType)| match nets::device::parse(name) {
            Ok(device) => Some(Check { device, dtype, tf32: name.ends_with("tf32") }),
            Err(error) => {
                println!("skipped: {error}");
                None
            }
        };
        numbers.filter_map(open).collect()
    }

    #[test]
    fn every_op_is_right() -> anyhow::Result<()> {
        checks().into_iter().try_for_each(|check| {
            all_right(check.ops()?);
            Ok(())
        })
    }

    #[test]
    fn every_network_is_right() -> anyhow::Result<()> {
        checks().into_iter().try_for_each(|check| {
            all_right(check.networks()?);
            Ok(())
        })
    }

    #[test]
    fn a_row_has_the_same_bits_wherever_it_stands() -> anyhow::Result<()> {
        checks().into_iter().try_for_each(|check| {
            all_right(check.rows()?);
            Ok(())
        })
    }
}
