//! Rows as files in a folder for each class.

use super::ClassNames;
use super::place::{ExportPlace, HALF};
use super::rows::Row;
use crate::Result;
use command::Error as Trouble;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes each row under another name first, so that no reader meets half a picture.
pub(super) fn write(place: &ExportPlace, rows: &[Row], names: &ClassNames) -> Result<u64> {
    let mut bytes = 0;
    for row in rows {
        let path = path(place, &row.key, row.class, names);
        let folder = path.parent().unwrap_or(place.folder());
        fs::create_dir_all(folder).map_err(Trouble::writing(folder))?;
        let half = ExportPlace::half(&path);
        let written = fs::write(&half, &row.png).and_then(|()| fs::rename(&half, &path));
        if let Err(answer) = written {
            // Not again on a disk that is full; it is written over when the export goes on.
            let _ = fs::remove_file(&half);
            return Err(Trouble::writing(&path)(answer).into());
        }
        bytes += row.png.len() as u64;
    }
    Ok(bytes)
}

/// The file of a row.
pub(super) fn path(place: &ExportPlace, key: &str, class: u32, names: &ClassNames) -> PathBuf {
    place.folder().join(names.of(class)).join(format!("{key}.png"))
}

/// How many images lie in the folders.
pub(super) fn images(folder: &Path) -> Result<u64> {
    let mut images = 0;
    for entry in fs::read_dir(folder).map_err(Trouble::reading(folder))? {
        let class = entry.map_err(Trouble::reading(folder))?.path();
        if !class.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&class).map_err(Trouble::reading(&class))? {
            let name = entry.map_err(Trouble::reading(&class))?.file_name();
            images += u64::from(!name.to_string_lossy().ends_with(HALF));
        }
    }
    Ok(images)
}
