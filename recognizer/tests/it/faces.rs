//! Stand-ins for faces: gratings whose angle and width tell the identity, whose phase and noise
//! tell images of one identity apart.

use nets::chance::Chance;
use std::path::Path;

const SIZE: usize = 128;

/// Grey pixels, 128 x 128.
pub(crate) fn grating(identity: u64, image: u64) -> Vec<u8> {
    let mut draws = Chance::new(1, "grating").at(identity, image);
    let (sin, cos) = (identity as f64 * 0.7).sin_cos();
    let frequency = 0.1 + 0.05 * (identity % 3) as f64;
    let phase = draws.uniform(0.0, std::f64::consts::TAU);
    (0..SIZE * SIZE)
        .map(|position| {
            let (x, y) = ((position % SIZE) as f64, (position / SIZE) as f64);
            let wave = (frequency * (x * cos + y * sin) + phase).sin();
            (128.0 + 80.0 * wave + 15.0 * draws.normal()) as u8
        })
        .collect()
}

/// A folder per identity, and pairs of them in two folds.
pub(crate) fn write_folder(folder: &Path, identities: u64, images: u64) {
    for identity in 0..identities {
        let place = folder.join(format!("grating_{identity}"));
        std::fs::create_dir_all(&place).unwrap();
        for image in 0..images {
            let picture = dataset::Image::new(1, grating(identity, image)).unwrap();
            std::fs::write(place.join(format!("grating_{identity}_{:04}.png", image + 1)), picture.to_png()).unwrap();
        }
    }
    let mut pairs = "2\t2\n".to_owned();
    for (one, other) in [(0, 1), (2, 3)] {
        pairs += &format!("grating_{one}\t1\t2\ngrating_{other}\t1\t2\n");
        pairs += &format!("grating_{one}\t1\tgrating_{other}\t1\ngrating_{one}\t2\tgrating_{other}\t2\n");
    }
    std::fs::write(folder.join("pairs.txt"), pairs).unwrap();
}
