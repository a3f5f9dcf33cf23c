//! An overview: some identities, a row each.

use std::path::Path;

use command::picture::Grid;
use dataset::{Dataset, Identity};
use nets::pixels::IMAGE_SIZE;

use crate::Failure;

const ROWS: usize = 8;
const COLUMNS: usize = 10;

/// Draws up to 8 identities with up to 10 images each, evenly spread over the set.
pub(crate) fn save(set: &Dataset, path: &Path) -> Result<(), Failure> {
    let identities: Vec<&Identity> = set.identities().iter().filter(|identity| identity.images > 0).collect();
    let rows: Vec<&Identity> = spread(identities.len(), ROWS).map(|index| identities[index]).collect();
    let columns = rows.iter().map(|identity| identity.images.min(COLUMNS)).max().unwrap_or(1);
    let mut grid = Grid::new(IMAGE_SIZE, set.channels(), columns)?
        .title(format!("{}: {} identities, {} images", set.path().display(), identities.len(), set.len()))
        .row_captions(rows.iter().map(|identity| format!("{} ({})", identity.name, identity.images)));
    for identity in rows {
        let mut shown = 0;
        for index in spread(identity.images, columns) {
            grid.push(set.read(identity.first_image + index)?.pixels())?;
            shown += 1;
        }
        (shown..columns).for_each(|_| grid.skip());
    }
    Ok(grid.render().save(path)?)
}

/// At most `most` of `0..count`, evenly spread.
fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let shown = count.min(most);
    (0..shown).map(move |index| index * count / shown)
}
