//! `config.toml` of a run: what it takes to go on without another flag.

use command::Context;
use command::atomic_file::write_atomically;
use command::human::count;
use cvae_gan::{Error, Settings};
use std::io::Write;
use std::path::Path;

/// The command's settings with those of the preset filled in: what a run keeps, so that a later
/// version of the preset doesn't change it.
pub(crate) fn text(settings: &Settings, context: &Context) -> String {
    let resolved = toml::Table::try_from(settings).unwrap_or_default();
    let fill = |line: &str| -> String {
        let unset = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set"));
        match unset.and_then(|name| Some((name, resolved.get(name)?))) {
            Some((name, value)) => format!("{name} = {value} # preset {}\n", settings.preset),
            None => format!("{line}\n"),
        }
    };
    context.settings.to_toml().lines().map(fill).collect()
}

/// Writes the learning rates of a resumed training into its run's `config.toml`, where they are
/// others than before, so that the next resume keeps to them. Gives a line for each that changed.
pub(crate) fn record_rates(run: &Path, settings: &Settings, images_seen: u64) -> Result<Vec<String>, Error> {
    let path = run.join("config.toml");
    let text = std::fs::read_to_string(&path).map_err(command::Error::reading(&path))?;
    let (text, changes) = with_rates(&text, settings, images_seen);
    if !changes.is_empty() {
        write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
    }
    Ok(changes)
}

fn with_rates(text: &str, settings: &Settings, images_seen: u64) -> (String, Vec<String>) {
    let rates = [("learning-rate", settings.learning_rate), ("critic-learning-rate", settings.critic_learning_rate)];
    let mut changes = Vec::new();
    let mut line = |line: &str| -> String {
        let set = line.split_once(" = ").and_then(|(name, rest)| {
            let (_, rate) = rates.into_iter().find(|(rate, _)| *rate == name)?;
            let before: f64 = rest.split('#').next()?.trim().parse().ok()?;
            (before != rate).then(|| (name, before, toml::Value::from(rate)))
        });
        match set {
            Some((name, before, rate)) => {
                let seen = count(images_seen);
                changes.push(format!("{name} is {rate} from here on, after {seen} images; before it was {before}"));
                format!("{name} = {rate} # after {seen} images; before {before}\n")
            }
            None => format!("{line}\n"),
        }
    };
    let text = text.lines().map(&mut line).collect();
    (text, changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvae_gan::Preset;
    use nets::Width;

    #[test]
    fn only_a_rate_that_changed_is_written_anew() {
        let settings = Settings { learning_rate: 1.0, ..Preset::SmallBudget.settings(Width::Tiny, 1000) };
        let text = "beta1 = 0.5\nlearning-rate = 0.001 # flag\ncritic-learning-rate = 0.0002\n";
        let (text, changes) = with_rates(text, &settings, 24_000);
        assert_eq!(
            text,
            "beta1 = 0.5\nlearning-rate = 1.0 # after 24,000 images; before 0.001\ncritic-learning-rate = 0.0002\n"
        );
        assert_eq!(changes, ["learning-rate is 1.0 from here on, after 24,000 images; before it was 0.001"]);
        assert_eq!(with_rates(&text, &settings, 30_000), (text.clone(), vec![]));
    }
}
