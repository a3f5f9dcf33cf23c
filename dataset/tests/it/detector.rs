//! A detector without published weights: its files are written here, in PyTorch's old container, with
//! weights by hand. It takes every window that is all white for a face, with landmarks at fixed shares.

use std::path::Path;

/// Where the landmarks of every face lie in its box: abscissas, then ordinates.
pub(crate) const SHARES: [f32; 10] = [0.3, 0.7, 0.5, 0.35, 0.65, 0.4, 0.4, 0.6, 0.8, 0.8];

/// Writes `pnet.pt`, `rnet.pt` and `onet.pt`.
pub(crate) fn write(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("pnet.pt"), file(&pnet())).unwrap();
    std::fs::write(folder.join("rnet.pt"), file(&rnet())).unwrap();
    std::fs::write(folder.join("onet.pt"), file(&onet())).unwrap();
}

/// A variable: name, dimensions in PyTorch's order, values.
type Variable = (&'static str, Vec<usize>, Vec<f32>);

fn zeros(name: &'static str, dims: &[usize]) -> Variable {
    (name, dims.to_vec(), vec![0.0; dims.iter().product()])
}

fn ones(name: &'static str, count: usize) -> Variable {
    (name, vec![count], vec![1.0; count])
}

fn vector(name: &'static str, values: &[f32]) -> Variable {
    (name, vec![values.len()], values.to_vec())
}

/// Whose first filter is the mean over the first channel, or over all `channels` of an image.
fn mean(name: &'static str, dims: [usize; 4], channels: usize) -> Variable {
    let (_, dims, mut values) = zeros(name, &dims);
    let taps = channels * dims[2] * dims[3];
    values[..taps].fill(1.0 / taps as f32);
    (name, dims, values)
}

/// The mean brightness of a window, and a face where that is nearly white.
fn pnet() -> Vec<Variable> {
    let (name, dims, mut values) = zeros("conv4_1.weight", &[2, 32, 1, 1]);
    values[32] = 200.0;
    vec![
        mean("conv1.weight", [10, 3, 3, 3], 3),
        zeros("conv1.bias", &[10]),
        ones("prelu1.weight", 10),
        mean("conv2.weight", [16, 10, 3, 3], 1),
        zeros("conv2.bias", &[16]),
        ones("prelu2.weight", 16),
        mean("conv3.weight", [32, 16, 3, 3], 1),
        zeros("conv3.bias", &[32]),
        ones("prelu3.weight", 32),
        (name, dims, values),
        vector("conv4_1.bias", &[0.0, -196.0]),
        zeros("conv4_2.weight", &[4, 32, 1, 1]),
        zeros("conv4_2.bias", &[4]),
    ]
}

/// Agrees with everything.
fn rnet() -> Vec<Variable> {
    vec![
        zeros("conv1.weight", &[28, 3, 3, 3]),
        zeros("conv1.bias", &[28]),
        ones("prelu1.weight", 28),
        zeros("conv2.weight", &[48, 28, 3, 3]),
        zeros("conv2.bias", &[48]),
        ones("prelu2.weight", 48),
        zeros("conv3.weight", &[64, 48, 2, 2]),
        zeros("conv3.bias", &[64]),
        ones("prelu3.weight", 64),
        zeros("dense4.weight", &[128, 576]),
        zeros("dense4.bias", &[128]),
        ones("prelu4.weight", 128),
        zeros("dense5_1.weight", &[2, 128]),
        vector("dense5_1.bias", &[0.0, 5.0]),
        zeros("dense5_2.weight", &[4, 128]),
        zeros("dense5_2.bias", &[4]),
    ]
}

/// Agrees with everything, and says the same landmarks of it.
fn onet() -> Vec<Variable> {
    vec![
        zeros("conv1.weight", &[32, 3, 3, 3]),
        zeros("conv1.bias", &[32]),
        ones("prelu1.weight", 32),
        zeros("conv2.weight", &[64, 32, 3, 3]),
        zeros("conv2.bias", &[64]),
        ones("prelu2.weight", 64),
        zeros("conv3.weight", &[64, 64, 3, 3]),
        zeros("conv3.bias", &[64]),
        ones("prelu3.weight", 64),
        zeros("conv4.weight", &[128, 64, 2, 2]),
        zeros("conv4.bias", &[128]),
        ones("prelu4.weight", 128),
        zeros("dense5.weight", &[256, 1152]),
        zeros("dense5.bias", &[256]),
        ones("prelu5.weight", 256),
        zeros("dense6_1.weight", &[2, 256]),
        vector("dense6_1.bias", &[0.0, 8.0]),
        zeros("dense6_2.weight", &[4, 256]),
        zeros("dense6_2.bias", &[4]),
        zeros("dense6_3.weight", &[10, 256]),
        vector("dense6_3.bias", &SHARES),
    ]
}

/// The old container of `torch.save`: a row of pickles, then each storage.
fn file(variables: &[Variable]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}.");
    file.extend(b"\x80\x02}(");
    for (at, (name, dims, values)) in variables.iter().enumerate() {
        text(&mut file, name);
        file.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut file, "storage");
        file.extend(b"ctorch\nFloatStorage\n");
        text(&mut file, &at.to_string());
        text(&mut file, "cpu");
        number(&mut file, values.len());
        file.extend(b"NtQ");
        number(&mut file, 0);
        file.push(b'(');
        dims.iter().for_each(|&dim| number(&mut file, dim));
        file.extend(b"t(");
        (0..dims.len()).for_each(|nth| number(&mut file, dims[nth + 1..].iter().product()));
        file.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    file.extend(b"u.");
    file.extend(b"\x80\x02](");
    (0..variables.len()).for_each(|at| text(&mut file, &at.to_string()));
    file.extend(b"e.");
    for (_, _, values) in variables {
        file.extend((values.len() as u64).to_le_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.push(b'X');
    file.extend((text.len() as u32).to_le_bytes());
    file.extend(text.as_bytes());
}

fn number(file: &mut Vec<u8>, number: usize) {
    file.push(b'J');
    file.extend((number as u32).to_le_bytes());
}
