//! Pictures for people. Whether they please was judged by eye; here it is that they are whole.

use command::picture::{Grid, Intervals, Picture, Plot};

fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let start = ((y * picture.width() + x) * 3) as usize;
    picture.pixels()[start..start + 3].try_into().unwrap()
}

#[test]
fn a_grid_shows_each_tile_unchanged_in_reading_order() {
    let mut grid = Grid::new(8, 3, 2).unwrap();
    for shade in [10u8, 20, 30] {
        grid.push(&[shade, 0, 255].repeat(64)).unwrap();
    }
    let picture = grid.render();
    // A margin of 12, tiles of 8, gaps of 4.
    assert_eq!((picture.width(), picture.height()), (12 + 8 + 4 + 8 + 12, 12 + 8 + 4 + 8 + 12));
    assert_eq!(pixel(&picture, 12, 12), [10, 0, 255]);
    assert_eq!(pixel(&picture, 31, 19), [20, 0, 255]);
    assert_eq!(pixel(&picture, 12, 24), [30, 0, 255]);
    assert_eq!(pixel(&picture, 11, 11), [255; 3]);
}

#[test]
fn grey_tiles_captions_and_a_long_title_make_room_for_themselves() {
    let grid = |grid: Grid| {
        let mut grid = grid;
        grid.push(&[7; 32 * 32 * 2]).unwrap();
        grid.render()
    };
    let bare = grid(Grid::new(32, 1, 2).unwrap());
    let rich = grid(
        Grid::new(32, 1, 2)
            .unwrap()
            .title("a title that is a good deal wider than two small tiles")
            .column_captions(["a caption too long for its column", "b"])
            .row_captions(["row"]),
    );
    assert!(rich.width() > bare.width() + 100 && rich.height() > bare.height() + 40);
    assert!(rich.pixels().chunks_exact(3).filter(|pixel| *pixel == [7; 3]).count() >= 2 * 32 * 32);
}

#[test]
fn impossible_grids_are_refused() {
    assert_eq!(Grid::new(8, 4, 2).unwrap_err().to_string(), "picture: expected 1 or 3 channels, found 4");
    assert!(Grid::new(8, 3, 0).is_err());
    assert!(Grid::new(0, 3, 1).is_err());
    let text = Grid::new(8, 1, 1).unwrap().push(&[0; 65]).unwrap_err().to_string();
    assert_eq!(text, "picture: expected a multiple of 64 bytes, found 65");
}

#[test]
fn an_empty_grid_is_still_a_picture() {
    let picture = Grid::new(8, 1, 3).unwrap().title("nothing yet").render();
    assert!(image::load_from_memory(&picture.to_png()).is_ok());
}

#[test]
fn a_plot_draws_its_lines_and_survives_odd_points() {
    let mut plot = Plot::new("loss", "images seen", "nats");
    plot.line("kl", (0..100).map(|x| (f64::from(x), f64::from(x).sqrt())));
    let picture = plot.render();
    let bluish = picture.pixels().chunks_exact(3).filter(|pixel| pixel[2] > pixel[0].saturating_add(60));
    assert!(bluish.count() > 500);
    for points in [
        vec![],
        vec![(0.0, f64::NAN)],
        vec![(5.0, 5.0)],
        vec![(0.0, 1e300), (1.0, -1e300)],
        vec![(0.0, 1e-300), (1.0, 0.0)],
    ] {
        let mut plot = Plot::new("odd", "x", "y");
        plot.line("a", points).line("b", [(0.0, 0.0), (f64::INFINITY, 1.0), (1.0, 1.0)]);
        assert_eq!(plot.render().width(), 960);
    }
}

#[test]
fn intervals_draw_a_point_and_a_bar_each_and_survive_odd_values() {
    let mut plot = Intervals::new("accuracy", "%");
    plot.column("real only", [(85.0, 0.4), (86.0, 0.6), (85.5, 0.5)]).column("more", [(87.0, 0.5)]);
    let bluish = |plot: &Intervals| {
        let picture = plot.render();
        picture.pixels().chunks_exact(3).filter(|pixel| pixel[2] > pixel[0].saturating_add(60)).count()
    };
    assert!(bluish(&plot) > 300, "{}", bluish(&plot));
    for points in [vec![], vec![(f64::NAN, 1.0)], vec![(5.0, 0.0)], vec![(1e300, 1e300), (-1e300, 0.0)]] {
        let mut plot = Intervals::new("odd", "y");
        plot.column("a", points);
        assert_eq!(plot.render().width(), 960);
    }
    assert_eq!(Intervals::new("none", "y").render().width(), 960);
}
