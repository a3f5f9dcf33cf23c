//! Photographs to aligned faces, by a detector that takes white squares for faces (`detector.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataset::align::geometry::{EYES, EYES_TO_MOUTH, Similarity};
use dataset::align::read_photograph;
use image::{Rgb, RgbImage};
use proptest::prelude::*;

use crate::decoding::exif;
use crate::detector;
use crate::shelf::Shelf;

/// Photographs and a detector, in a folder that disappears with the test.
struct Studio {
    shelf: Shelf,
}

impl Studio {
    fn new() -> Self {
        let shelf = Shelf::new();
        detector::write(&shelf.beside("mtcnn"));
        Self { shelf }
    }

    /// Two people, three photographs.
    fn with_two_people() -> Self {
        let studio = Self::new();
        studio.shelf.put("anna/1.png", &png(&photograph(200, 150, &[(60, 40)])));
        studio.shelf.put("anna/2.png", &png(&photograph(300, 200, &[(10, 10), (130, 80)])));
        studio.shelf.put("bob/1.png", &png(&photograph(160, 160, &[(16, 90)])));
        studio
    }

    fn out(&self) -> PathBuf {
        self.shelf.beside("aligned")
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_faces"));
        command.arg("align").arg(self.shelf.root()).arg(self.out()).arg("--mtcnn").arg(self.shelf.beside("mtcnn"));
        command.args(["--min-face", "48", "--json"]).args(more);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn align(&self, more: &[&str]) -> serde_json::Value {
        let output = self.run(more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refusal(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    fn journal(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.out().join("alignment.jsonl")).unwrap();
        text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Dark, with white squares of 48 pixels, each of which holds one window that is white enough.
fn photograph(width: u32, height: u32, squares: &[(u32, u32)]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let inside = |&(left, top): &(u32, u32)| (left..left + 48).contains(&x) && (top..top + 48).contains(&y);
        if squares.iter().any(inside) { Rgb([255; 3]) } else { Rgb([20, (x % 50) as u8, (y % 40) as u8]) }
    })
}

fn png(image: &RgbImage) -> Vec<u8> {
    encoded(image, image::ImageFormat::Png)
}

fn encoded(image: &RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Every file below a folder with its bytes, sorted.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found.sort();
    found
}

#[test]
fn a_folder_of_photographs_becomes_a_data_set_with_an_account() {
    let studio = Studio::with_two_people();
    studio.shelf.put("bob/none.png", &png(&photograph(90, 90, &[])));
    studio.shelf.put("bob/notes.txt", b"not a picture's name");
    let sheet = studio.shelf.beside("sheet.png");
    let told = studio.align(&["--sheet", sheet.to_str().unwrap()]);
    assert_eq!((&told["photographs"], &told["aligned"], &told["left"]), (&4.into(), &3.into(), &0.into()));
    assert_eq!(told["several_faces"], serde_json::json!(["anna/2.png"]));
    assert_eq!(told["no_face"], serde_json::json!(["bob/none.png"]));
    assert_eq!(told["other_files"], 1);
    assert!(image::open(sheet).is_ok());

    let set = crate::shelf::open_rgb(&studio.out());
    let paths: Vec<&str> = (0..set.len()).map(|image| set.image_path(image)).collect();
    assert_eq!(paths, ["anna/1.png", "anna/2.png", "bob/1.png"]);
    assert!(set.report().set_aside.is_empty(), "{}", set.report());
    // The landmarks of the journal are where the similarity says, and the box is white there.
    for record in studio.journal().iter().filter(|record| record["outcome"] == "aligned") {
        let face = &record["faces"][record["taken"].as_u64().unwrap() as usize];
        let landmarks: [[f32; 2]; 5] = serde_json::from_value(face["landmarks"].clone()).unwrap();
        let to_aligned = Similarity::of_landmarks(&landmarks).unwrap();
        assert!((to_aligned.scale() - record["scale"].as_f64().unwrap()).abs() < 1e-9);
    }
    let middle = |image: usize| set.read(image).unwrap().pixels()[(64 * 128 + 64) * 3];
    assert_eq!([0, 1, 2].map(middle), [255; 3]);
}

#[test]
fn of_several_faces_the_one_asked_for_is_taken() {
    let studio = Studio::with_two_people();
    let first = |take: &str| {
        let _ = fs::remove_dir_all(studio.out());
        studio.align(&["--take", take]);
        let record = studio.journal().remove(1);
        assert_eq!(record["good"], 2);
        record["faces"][record["taken"].as_u64().unwrap() as usize]["corners"][0].as_f64().unwrap()
    };
    assert!(first("central") > 100.0, "the second square is nearer to the middle of 300x200");
    first("largest");
}

#[test]
fn a_second_run_does_what_is_new_and_nothing_else() {
    let studio = Studio::with_two_people();
    studio.align(&[]);
    let before = files(&studio.out());
    let told = studio.align(&[]);
    assert_eq!((&told["done_before"], &told["aligned"]), (&3.into(), &3.into()));
    assert_eq!(files(&studio.out()), before);

    // A face that was deleted, a photograph that changed, one that is new, one that is gone.
    fs::remove_file(studio.out().join("anna/1.png")).unwrap();
    studio.shelf.put("anna/2.png", &png(&photograph(300, 210, &[(130, 80)])));
    studio.shelf.put("carla/1.png", &png(&photograph(100, 100, &[(20, 20)])));
    fs::remove_file(studio.shelf.root().join("bob/1.png")).unwrap();
    let told = studio.align(&[]);
    assert_eq!((&told["done_before"], &told["aligned"], &told["vanished"]), (&0.into(), &3.into(), &1.into()));
    assert_eq!(told["several_faces"], serde_json::json!([]));
    assert!(studio.out().join("bob/1.png").is_file(), "what vanished is not ours to delete");
}

#[test]
fn a_half_written_line_is_no_record() {
    let studio = Studio::with_two_people();
    studio.align(&[]);
    let (journal, whole) = (studio.out().join("alignment.jsonl"), files(&studio.out()));
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, &text[..text.len() - 20]).unwrap();
    fs::write(studio.out().join("bob/.1.png.a1b2c3.tmp"), "half").unwrap();
    assert_eq!(studio.align(&[])["done_before"], 2);
    assert_eq!(files(&studio.out()), whole);
    // A broken line in the middle is no accident of ours.
    fs::write(&journal, text.replacen("anna/1.png\",", "anna/1.png", 1)).unwrap();
    assert!(studio.refusal(&[]).contains("alignment.jsonl, line 2: "));
}

#[test]
fn files_do_not_depend_on_threads() {
    let studio = Studio::with_two_people();
    studio.align(&["--threads", "1"]);
    let one = files(&studio.out());
    fs::remove_dir_all(studio.out()).unwrap();
    studio.align(&["--threads", "7"]);
    assert_eq!(files(&studio.out()), one);
}

#[cfg(unix)]
#[test]
fn a_killed_run_leaves_whole_files_and_the_next_goes_on() {
    let studio = Studio::new();
    for nth in 0..24 {
        studio.shelf.put(&format!("anna/{nth:02}.png"), &png(&photograph(500, 400, &[(40 + nth * 10, 100)])));
    }
    let mut run = studio.command(&["--threads", "2", "--quiet"]).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let some = || fs::read_dir(studio.out().join("anna")).is_ok_and(|entries| entries.count() > 2);
    while !some() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    for (path, bytes) in files(&studio.out()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".png") {
            assert!(image::load_from_memory(&bytes).is_ok(), "{name} is whole");
        }
    }
    assert_eq!(studio.align(&[])["aligned"], 24);
    let resumed = files(&studio.out());
    fs::remove_dir_all(studio.out()).unwrap();
    studio.align(&[]);
    assert_eq!(files(&studio.out()), resumed);
}

#[test]
fn damaged_and_foreign_files_are_set_aside_and_counted() {
    let studio = Studio::with_two_people();
    let whole = png(&photograph(100, 100, &[(20, 20)]));
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    studio.shelf.put("bob/cut.png", &whole[..whole.len() / 2]);
    studio.shelf.put("bob/damaged.png", &damaged);
    studio.shelf.put("bob/empty.jpg", b"");
    studio.shelf.put("bob/gif.jpg", b"GIF89a and more");
    studio.shelf.put("bob/text.jpg", b"some text");
    studio.shelf.put("bob/1.jpg", &encoded(&photograph(100, 100, &[(20, 20)]), image::ImageFormat::Jpeg));
    // A header that promises more than is there, and more than is taken.
    let mut vast = whole.clone();
    vast[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    studio.shelf.put("bob/vast.png", &vast);
    let told = studio.align(&[]);
    let reasons: Vec<(&str, &str)> = told["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flaw| (flaw["path"].as_str().unwrap(), flaw["reason"].as_str().unwrap()))
        .collect();
    for (path, part) in [
        ("bob/cut.png", "the file is cut short"),
        ("bob/damaged.png", "its data are damaged"),
        ("bob/empty.jpg", "the file is empty"),
        ("bob/gif.jpg", "expected JPEG or PNG, found GIF"),
        ("bob/text.jpg", "it is not an image"),
        ("bob/vast.png", "expected at most 64000000 pixels, found 65535x65535"),
    ] {
        assert!(reasons.iter().any(|(found, reason)| *found == path && reason.contains(part)), "{path}: {reasons:?}");
    }
    assert_eq!(reasons.len(), 6);
    // Of 1.jpg and 1.png one must give way.
    assert_eq!(told["set_aside"][0]["path"], "bob/1.png");
    assert_eq!(told["aligned"], 3);
}

#[test]
fn a_photograph_is_aligned_as_its_orientation_says() {
    let upright = photograph(240, 160, &[(40, 24)]);
    let jpeg = |image: &RgbImage| encoded(image, image::ImageFormat::Jpeg);
    let plain = jpeg(&upright);
    let studio = Studio::new();
    studio.shelf.put("anna/plain.jpg", &plain);
    // Held so that the camera stored it a quarter turn to the left, and half a turn.
    let stored = [(6, image::imageops::rotate270(&upright)), (3, image::imageops::rotate180(&upright))];
    for (orientation, stored) in stored {
        let file = jpeg(&stored);
        let file = [&file[..2], &exif(orientation), &file[2..]].concat();
        studio.shelf.put(&format!("anna/turned-{orientation}.jpg"), &file);
        let path = studio.shelf.root().join(format!("anna/turned-{orientation}.jpg"));
        let (width, height, _) = read_photograph(&path, 1_000_000).unwrap();
        assert_eq!((width, height), (240, 160));
    }
    studio.align(&[]);
    let journal = studio.journal();
    // The windows that are looked at lie eight pixels apart.
    let corner = |nth: usize| journal[0]["faces"][0]["corners"][nth].as_f64().unwrap();
    for record in &journal {
        for (nth, corner) in (0..4).map(|nth| (nth, corner(nth))) {
            let found = record["faces"][0]["corners"][nth].as_f64().unwrap();
            assert!((found - corner).abs() <= 8.0, "{}: {found} and {corner}", record["path"]);
        }
    }
    assert!(corner(0) < 60.0 && corner(1) < 40.0, "{journal:?}");
    assert!(
        read_photograph(&studio.shelf.root().join("anna/plain.jpg"), 1000).unwrap_err().to_string().contains("240x160")
    );
}

#[test]
fn folders_and_settings_that_cannot_work_are_refused_in_a_sentence() {
    let studio = Studio::with_two_people();
    let (root, mtcnn) = (studio.shelf.root(), studio.shelf.beside("mtcnn"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (file, inside) = (text(&root.join("anna/1.png")), text(&root.join("aligned/here")));
    let (other, under) = (text(&studio.shelf.beside("other")), format!("{file}/out"));
    fs::create_dir(&other).unwrap();
    fs::write(Path::new(&other).join("mine"), "").unwrap();
    let (root, mtcnn) = (text(&root), text(&mtcnn));
    let refusal = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_faces")).arg("align").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, code, part) in [
        (vec!["/nowhere", "out", "--mtcnn", &mtcnn], 1, "no folder of photographs at /nowhere"),
        (vec![&file, "out", "--mtcnn", &mtcnn], 1, "found a file"),
        (vec![&root, &file, "--mtcnn", &mtcnn], 1, "found a file"),
        (vec![&root, &under, "--mtcnn", &mtcnn], 1, "can't write"),
        (vec![&root, &inside, "--mtcnn", &mtcnn], 1, "whose photographs are read"),
        (vec![&root, &root, "--mtcnn", &mtcnn], 1, "whose photographs are read"),
        (vec![&root, &other, "--mtcnn", &mtcnn], 1, "exists and is not empty"),
        (vec![&root, "out", "--mtcnn", &root], 1, "a folder without them"),
        (vec![&root, "out", "--mtcnn", &file], 1, "no zip archive"),
        (vec![&root, "out"], 2, "--mtcnn"),
        (vec![&root, "out", "--mtcnn", &mtcnn, "--min-probability", "0.5"], 2, "0.7 to 1"),
        (vec![&root, "out", "--mtcnn", &mtcnn, "--min-face", "5"], 2, "5"),
    ] {
        let (found, error) = refusal(&arguments);
        assert_eq!(found, code, "{arguments:?}: {error}");
        assert!(error.contains(part), "{error}");
    }
    studio.align(&[]);
    let error = studio.refusal(&["--grey"]);
    assert!(error.contains("aligned with colour rgb, where this command says grey"), "{error}");
    // A weight of another value is another detector.
    let path = Path::new(&mtcnn).join("onet.pt");
    let mut onet = fs::read(&path).unwrap();
    let last = onet.len() - 2;
    onet[last] ^= 1;
    fs::write(&path, &onet).unwrap();
    assert!(studio.refusal(&[]).contains("aligned with detector"));
    fs::write(&path, &onet[..onet.len() - 9]).unwrap();
    assert!(studio.refusal(&[]).contains("onet.pt: expected a PyTorch file of named tensors"));
}

#[test]
fn a_dry_run_says_what_is_left_and_writes_nothing() {
    let studio = Studio::with_two_people();
    let output = studio.run(&["--dry-run"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("min-face = 48") && told.contains("# Photographs: 3 to do, 0 done"), "{told}");
    assert!(!studio.out().exists());
}

/// A face as the published pictures show it on average, then turned, scaled and shifted.
fn landmarks(degrees: f64, scale: f64, shift: [f64; 2]) -> [[f32; 2]; 5] {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [[-20.0, 0.0], [20.0, 0.0], [0.0, 25.0], [-15.0, 50.0], [17.0, 48.0]].map(|[x, y]: [f64; 2]| {
        [scale * (cos * x - sin * y) + shift[0], scale * (sin * x + cos * y) + shift[1]].map(|value| value as f32)
    })
}

proptest! {
    #[test]
    fn eyes_come_level_to_their_place_and_the_mouth_below(
        degrees in -170.0..170.0, scale in 0.2..20.0, x in -500.0..3000.0, y in -500.0..3000.0,
    ) {
        let points = landmarks(degrees, scale, [x, y]);
        let to_aligned = Similarity::of_landmarks(&points).unwrap();
        let [left, right, _, left_mouth, right_mouth] = points.map(|point| to_aligned.apply(point.map(f64::from)));
        let middle = |a: [f64; 2], b: [f64; 2]| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
        prop_assert!((left[1] - right[1]).abs() < 1e-6 && left[0] < right[0], "eyes are level: {left:?} {right:?}");
        let (eyes, mouth) = (middle(left, right), middle(left_mouth, right_mouth));
        prop_assert!((eyes[0] - EYES[0]).abs() < 1e-6 && (eyes[1] - EYES[1]).abs() < 1e-6, "{eyes:?}");
        prop_assert!((mouth[1] - eyes[1] - EYES_TO_MOUTH).abs() < 1e-6, "{mouth:?}");
        // 49 pixels of the face before it was scaled are 48 now.
        prop_assert!((to_aligned.scale() * scale * 49.0 / 48.0 - 1.0).abs() < 1e-3);
        prop_assert!((to_aligned.degrees() + degrees).abs() < 0.1);
    }

    #[test]
    fn there_and_back_is_where_it_was(degrees in -170.0..170.0, scale in 0.2..20.0, x in -9.0..9e3, y in -9.0..9e3) {
        let there = Similarity::of_landmarks(&landmarks(degrees, scale, [y, x])).unwrap();
        let [back_x, back_y] = there.inverse().apply(there.apply([x, y]));
        prop_assert!((back_x - x).abs() < 1e-6 && (back_y - y).abs() < 1e-6, "{back_x} {back_y}");
    }

    #[test]
    fn any_five_points_align_or_are_refused(points: [[f32; 2]; 5]) {
        if let Some(to_aligned) = Similarity::of_landmarks(&points) {
            prop_assert!(to_aligned.scale() > 0.0 && to_aligned.scale() <= 48.0);
        }
    }
}

#[test]
fn no_face_has_its_mouth_on_its_eyes() {
    let mut points = landmarks(0.0, 1.0, [50.0, 50.0]);
    (points[3], points[4]) = (points[0], points[1]);
    assert_eq!(Similarity::of_landmarks(&points), None);
    points[0][0] = f32::NAN;
    assert_eq!(Similarity::of_landmarks(&points), None);
}
