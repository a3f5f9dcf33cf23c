//! What a person wears in one picture, and how hair and beard are worn that day.

use nets::chance::Draws;

use super::difficulty::{ACCESSORIES, OTHER_HAIR};
use super::moment::between;
use super::person::{Person, Style};
use super::vector::V3;

/// What a person puts on or does to the face that day.
#[derive(Clone, Debug)]
pub(super) struct Worn {
    pub(super) style: Style,
    pub(super) fringe: f32,
    pub(super) part: f32,
    pub(super) beard: f32,
    pub(super) make_up: f32,
    pub(super) lipstick: V3,
    pub(super) glasses: Option<Glasses>,
    pub(super) hat: Option<Hat>,
    pub(super) scarf: Option<V3>,
    pub(super) clothes: V3,
}

#[derive(Clone, Debug)]
pub(super) struct Glasses {
    pub(super) half_width: f32,
    pub(super) half_height: f32,
    /// 0 rectangular to 1 round.
    pub(super) round: f32,
    pub(super) thickness: f32,
    pub(super) colour: V3,
    /// How dark the lenses are.
    pub(super) tint: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Hat {
    pub(super) colour: V3,
    /// Height of its edge above the eyes.
    pub(super) edge: f32,
    pub(super) brim: bool,
}

impl Worn {
    pub(super) fn new(person: &Person, draws: &mut Draws) -> Self {
        let usual = &person.hair;
        let unlike = draws.chance(f64::from(OTHER_HAIR));
        let style = match (usual.style, unlike) {
            (Style::Long | Style::Bob, true) => Style::TiedBack,
            (Style::TiedBack, true) => Style::Long,
            (Style::Short, true) => Style::SideParted,
            (Style::SideParted, true) => Style::Short,
            (style, _) => style,
        };
        let fringe = if draws.chance(0.8) { usual.fringe } else { 0.0 };
        let part = if draws.chance(0.85) { usual.part } else { -usual.part };
        let shaved = draws.chance(0.35);
        let beard = person.beard * if shaved { 0.25 } else { between(draws, 0.6, 1.1) };
        let feminine = person.mouth.redness;
        let make_up = if draws.chance(0.35) { feminine * between(draws, 0.4, 1.0) } else { 0.0 };
        let accessory = |draws: &mut Draws, chance: f64| draws.chance(chance * f64::from(ACCESSORIES));
        let glasses = accessory(draws, 0.24).then(|| Glasses::new(draws));
        let hat = accessory(draws, 0.12).then(|| Hat::new(draws));
        let scarf = accessory(draws, 0.1).then(|| cloth(draws));
        Self {
            style,
            fringe,
            part,
            beard,
            make_up,
            lipstick: V3(between(draws, 0.4, 0.62), between(draws, 0.05, 0.14), between(draws, 0.08, 0.2)),
            glasses,
            hat,
            scarf,
            clothes: cloth(draws),
        }
    }
}

impl Glasses {
    fn new(draws: &mut Draws) -> Self {
        const FRAMES: [V3; 5] = [
            V3(0.02, 0.02, 0.022),
            V3(0.12, 0.055, 0.025),
            V3(0.35, 0.33, 0.30),
            V3(0.34, 0.22, 0.08),
            V3(0.05, 0.07, 0.16),
        ];
        let frame = draws.below(FRAMES.len() as u64) as usize;
        let dark = draws.chance(0.12);
        Self {
            half_width: between(draws, 0.30, 0.37),
            half_height: between(draws, 0.19, 0.29),
            round: draws.unit() as f32,
            thickness: between(draws, 0.014, 0.042),
            colour: FRAMES[frame],
            tint: if dark { between(draws, 0.55, 0.85) } else { between(draws, 0.02, 0.12) },
        }
    }

    /// Whether they are sunglasses.
    pub(super) fn is_dark(&self) -> bool {
        self.tint > 0.5
    }
}

impl Hat {
    fn new(draws: &mut Draws) -> Self {
        Self { colour: cloth(draws), edge: between(draws, 0.46, 0.66), brim: draws.chance(0.45) }
    }
}

/// A muted colour of cloth.
pub(super) fn cloth(draws: &mut Draws) -> V3 {
    let hue = between(draws, 0.0, 6.0);
    let saturation = between(draws, 0.05, 0.65);
    let light = between(draws, 0.03, 0.5);
    hue_colour(hue).mix(V3::ONE, 1.0 - saturation) * light
}

/// Six hues round the circle, smoothly joined.
fn hue_colour(hue: f32) -> V3 {
    let channel = |centre: f32| {
        let distance = (hue - centre).abs().min(6.0 - (hue - centre).abs());
        (2.0 - distance).clamp(0.0, 1.0)
    };
    V3(channel(0.0), channel(2.0), channel(4.0))
}
