use dataset::augment::{Augmentation, NONE, STANDARD};
use nets::chance::Chance;
use proptest::prelude::*;

use crate::shelf::smooth;

/// Which flip and shift explain an augmented picture.
fn explain(original: &[u8], augmented: &[u8], channels: usize) -> Vec<(bool, i32, i32)> {
    let mut found = Vec::new();
    for (flip, right, down) in moves(&[false, true], -8..=8) {
        let matches = (0..128 * 128).all(|index: i32| {
            let (x, y) = (index % 128, index / 128);
            let column = (x - right).clamp(0, 127);
            let column = if flip { 127 - column } else { column };
            let from = (((y - down).clamp(0, 127) * 128 + column) as usize) * channels;
            augmented[index as usize * channels..][..channels] == original[from..from + channels]
        });
        if matches {
            found.push((flip, right, down));
        }
    }
    found
}

fn moves(flips: &[bool], reach: std::ops::RangeInclusive<i32>) -> Vec<(bool, i32, i32)> {
    let mut all = Vec::new();
    for &flip in flips {
        for right in reach.clone() {
            all.extend(reach.clone().map(|down| (flip, right, down)));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_row_is_flipped_and_shifted_with_replicated_edges(seed: u64, grey: bool) {
        let channels = if grey { 1 } else { 3 };
        // A picture in which no two places look alike.
        let original: Vec<u8> =
            (0..128 * 128 * channels).map(|place| (place * place / 7 + place / 128) as u8).collect();
        let mut row = original.clone();
        STANDARD.apply(&mut row, channels, &mut Chance::new(seed, "augment").at(0, 0));
        prop_assert_eq!(explain(&original, &row, channels).len(), 1);
    }
}

#[test]
fn every_shift_and_both_sides_occur_equally_often() {
    let original = smooth(1, 4).into_pixels();
    let (mut flips, mut columns) = (0, [0u32; 17]);
    for row in 0..3400 {
        let mut pixels = original.clone();
        STANDARD.apply(&mut pixels, 1, &mut Chance::new(5, "augment").at(0, row));
        // The picture's columns count upwards, so one line tells flip and shift.
        let flip = pixels[70] < pixels[60];
        let right = if flip {
            i32::from(pixels[64]) - i32::from(original[63])
        } else {
            i32::from(original[64]) - i32::from(pixels[64])
        };
        flips += u32::from(flip);
        columns[(right + 8) as usize] += 1;
    }
    assert!((1550..1850).contains(&flips), "{flips}");
    assert!(columns.iter().all(|count| (140..260).contains(count)), "{columns:?}");
}

#[test]
fn switching_a_part_off_takes_the_same_draws() {
    let after = |augmentation: Augmentation, row: u64| {
        let mut draws = Chance::new(1, "augment").at(0, row);
        augmentation.apply(&mut smooth(1, 4).into_pixels(), 1, &mut draws);
        draws.next_u64()
    };
    for row in 0..50 {
        for part in [Augmentation { flip: false, ..STANDARD }, Augmentation { shift: 0, ..STANDARD }, NONE] {
            assert_eq!(after(STANDARD, row), after(part, row), "{part:?}");
        }
    }
    let mut row = smooth(1, 4).into_pixels();
    NONE.apply(&mut row, 1, &mut Chance::new(1, "augment").at(0, 0));
    assert_eq!(row, smooth(1, 4).into_pixels());
}

#[test]
fn brightness_is_one_factor_for_the_whole_image_within_its_reach() {
    let original = [0u8, 10, 100, 200, 250];
    for row in 0..50 {
        let mut pixels = original;
        dataset::augment::brighten(&mut pixels, 0.2, &mut Chance::new(3, "brightness").at(0, row));
        let factor = f64::from(pixels[2]) / 100.0;
        assert!((0.795..=1.205).contains(&factor), "{factor}");
        for (&before, &after) in original.iter().zip(&pixels) {
            let expected = (f64::from(before) * factor).min(255.0);
            assert!((f64::from(after) - expected).abs() <= 2.0, "{before} became {after}, not {expected}");
        }
    }
}

#[test]
fn no_reach_leaves_brightness_alone() {
    let mut pixels: Vec<u8> = (0..=255).collect();
    dataset::augment::brighten(&mut pixels, 0.0, &mut Chance::new(3, "brightness").at(0, 0));
    assert_eq!(pixels, (0..=255).collect::<Vec<u8>>());
}
