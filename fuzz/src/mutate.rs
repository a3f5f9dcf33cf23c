//! Seeded changes of an input: a seed replays any failure.

use nets::chance::{Chance, Draws};

/// Numbers at which lengths and counts go wrong.
const TELLING: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Change `number` of an input, a function of the two; `others` give what is spliced in.
pub fn mutate(input: &[u8], others: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut draws = Chance::new(1, "changes of an input").at(number, 0);
    let mut bytes = input.to_vec();
    for _ in 0..1 + draws.below(4) {
        change(&mut bytes, others, &mut draws);
    }
    bytes
}

/// An input with one short piece of it repeated until it is half a megabyte long: what costs more than in
/// proportion shows.
pub fn swell(input: &[u8], number: u64) -> Vec<u8> {
    const LONG: usize = 1 << 19;
    let mut draws = Chance::new(1, "a piece that swells").at(number, 0);
    if input.is_empty() {
        return vec![0; LONG];
    }
    let at = draws.below(input.len() as u64) as usize;
    let piece = &input[at..(at + 1 + draws.below(32) as usize).min(input.len())];
    [&input[..at], &piece.repeat(LONG / piece.len()), &input[at..]].concat()
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], draws: &mut Draws) {
    let len = bytes.len() as u64;
    if len == 0 {
        bytes.extend((0..1 + draws.below(16)).map(|_| draws.below(256) as u8));
        return;
    }
    let at = draws.below(len) as usize;
    // Lengths of pieces are short mostly: most structure is.
    let most = if draws.chance(0.8) { 16 } else { len };
    let piece = (1 + draws.below(most) as usize).min(bytes.len() - at);
    match draws.below(9) {
        0 => bytes[at] ^= 1 << draws.below(8),
        1 => bytes[at] = draws.below(256) as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + piece)),
        // Once more in the same place, or many times.
        4 => {
            let times = if draws.chance(0.9) { 1 } else { 1 + draws.below(64) as usize };
            let copy = bytes[at..at + piece].repeat(times);
            bytes.splice(at..at, copy);
        }
        5 => {
            let other = &others[draws.below(others.len() as u64) as usize];
            if !other.is_empty() {
                let from = draws.below(other.len() as u64) as usize;
                let until = (from + 1 + draws.below(64) as usize).min(other.len());
                bytes.splice(at..at + piece, other[from..until].iter().copied());
            }
        }
        6 => {
            let (telling, width) = (TELLING[draws.below(12) as usize], 1 << draws.below(4));
            let little = telling.to_le_bytes();
            let number: Vec<u8> = if draws.chance(0.5) {
                little[..width].to_vec()
            } else {
                little[..width].iter().rev().copied().collect()
            };
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, number);
        }
        // A number in text.
        7 => {
            let digits: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let at = digits[draws.below(digits.len() as u64) as usize];
                let other =
                    ["0", "-1", "1e999", "18446744073709551615", "4294967296", "nan", "9"][draws.below(7) as usize];
                bytes.splice(at..=at, other.bytes());
            }
        }
        _ => bytes[at] = bytes[at].wrapping_add(if draws.chance(0.5) { 1 } else { 255 }),
    }
}
