//! Comparisons: sides that take turns within each round, and targets for their ratios.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::statistics::Spread;

/// Where and how long to measure.
#[derive(Debug, Clone)]
pub struct Scene {
    /// A directory on the disk that is to be measured.
    pub dir: PathBuf,
    /// Smaller stores and shorter windows: shows that everything runs, not how fast.
    pub quick: bool,
    /// Whether each of Larder's events carries an id given by the caller, which is indexed.
    pub ids: bool,
}

impl Scene {
    /// How long a side runs before it is measured.
    pub fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 500 })
    }

    /// How long a side is measured.
    pub fn window(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 2_000 })
    }

    /// One number for the full run, another for the quick one.
    pub fn size(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// An empty directory of this name, for a store that lives for one round.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join("round").join(name);
        remove(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(dir)
    }
}

/// Removes a directory that may not be there.
pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
pub struct Measurement {
    pub units: u64,
    pub elapsed: Duration,
    /// Processor time per unit, of all threads of the process; `None` where it was not taken.
    pub processor: Option<Duration>,
}

impl Measurement {
    /// How many times as much was taken as was given, to three decimals.
    pub fn times(taken: u64, given: u64) -> Self {
        Self { units: taken * 1_000 / given, elapsed: Duration::from_secs(1_000), processor: None }
    }
}

/// What the numbers of a comparison are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Things done in a second: more is better.
    PerSecond(&'static str),
    /// Milliseconds until it is done: less is better.
    Milliseconds,
    /// How many times as much as something was needed: less is better.
    Times(&'static str),
}

impl Scale {
    fn value(self, measured: Measurement) -> f64 {
        let seconds = measured.elapsed.as_secs_f64();
        match self {
            Self::PerSecond(_) | Self::Times(_) => measured.units as f64 / seconds,
            Self::Milliseconds => seconds * 1e3,
        }
    }
}

type Measure = Box<dyn FnMut(&Scene) -> Result<Measurement>>;

/// One of those that are compared.
pub struct Side {
    pub name: &'static str,
    measure: Measure,
}

impl Side {
    pub fn new(name: &'static str, measure: impl FnMut(&Scene) -> Result<Measurement> + 'static) -> Self {
        Self { name, measure: Box::new(measure) }
    }
}

/// What the first side should reach against another.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At least this many times the other's rate.
    Ratio(f64),
    /// At most this many milliseconds more than the other.
    MillisecondsMore(f64),
    /// At least this, by itself: the target names the side that it is about.
    AtLeast(f64),
    /// At most this, by itself: the target names the side that it is about.
    AtMost(f64),
}

/// A goal against one other side, by name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub against: &'static str,
    pub goal: Goal,
}

impl Target {
    pub fn ratio(against: &'static str, at_least: f64) -> Self {
        Self { against, goal: Goal::Ratio(at_least) }
    }
}

/// Sides that do the same work; the first is the one that the targets are about.
pub struct Comparison {
    pub scale: Scale,
    pub sides: Vec<Side>,
    pub targets: Vec<Target>,
}

impl Comparison {
    /// Leaves one side, against which nothing can be held.
    pub fn keep_only(&mut self, side: &str) -> Result<()> {
        let names: Vec<&str> = self.sides.iter().map(|side| side.name).collect();
        ensure!(names.contains(&side), "no side `{side}`; there are `{}`", names.join("`, `"));
        self.sides.retain(|kept| kept.name == side);
        self.targets.clear();
        Ok(())
    }
}

/// What all rounds of one side gave.
#[derive(Debug, Serialize)]
pub struct SideResult {
    pub side: &'static str,
    pub spread: Spread,
    pub rounds: Vec<f64>,
    /// Microseconds of processor time per unit, the median of the rounds.
    pub processor_us: Option<f64>,
}

/// How a target was met.
#[derive(Debug, Serialize)]
pub struct TargetResult {
    pub against: &'static str,
    pub goal: Goal,
    /// The ratio (or difference) of the medians: what is held against the goal.
    pub of_medians: f64,
    /// The spread of the ratios (or differences) within each round.
    pub pairwise: Spread,
    pub met: bool,
}

/// A comparison with its numbers.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub name: &'static str,
    pub about: &'static str,
    pub scale: Scale,
    pub sides: Vec<SideResult>,
    pub targets: Vec<TargetResult>,
}

/// Runs every side once per round, in turn, so that whatever the machine goes through hits all of them alike.
pub fn run(
    name: &'static str,
    about: &'static str,
    mut comparison: Comparison,
    scene: &Scene,
    rounds: usize,
) -> Result<Outcome> {
    let mut taken: Vec<Vec<Measurement>> = vec![Vec::new(); comparison.sides.len()];
    for round in 1..=rounds {
        for (side, taken) in comparison.sides.iter_mut().zip(&mut taken) {
            let start = Instant::now();
            let measured = (side.measure)(scene).with_context(|| format!("{name}: {}", side.name))?;
            let value = comparison.scale.value(measured);
            taken.push(measured);
            let took = start.elapsed().as_secs_f64();
            eprintln!("{name} round {round}/{rounds} {}: {value:.1} ({took:.1} s)", side.name);
        }
    }
    let sides: Vec<SideResult> = comparison
        .sides
        .iter()
        .zip(taken)
        .map(|(side, taken)| side_result(side.name, comparison.scale, &taken))
        .collect();
    let targets = comparison.targets.iter().map(|target| judge(target, &sides)).collect();
    Ok(Outcome { name, about, scale: comparison.scale, sides, targets })
}

fn side_result(side: &'static str, scale: Scale, taken: &[Measurement]) -> SideResult {
    let rounds: Vec<f64> = taken.iter().map(|measured| scale.value(*measured)).collect();
    let processor: Vec<f64> =
        taken.iter().filter_map(|measured| measured.processor).map(|time| time.as_secs_f64() * 1e6).collect();
    let processor_us = (!processor.is_empty()).then(|| Spread::of(&processor).median);
    SideResult { side, spread: Spread::of(&rounds), rounds, processor_us }
}

fn judge(target: &Target, sides: &[SideResult]) -> TargetResult {
    let own = &sides[0];
    let other = sides
        .iter()
        .find(|side| side.side == target.against)
        .expect("a target names a side of its own comparison");
    let compare = |own: f64, other: f64| match target.goal {
        Goal::Ratio(_) => own / other,
        Goal::MillisecondsMore(_) => own - other,
        Goal::AtLeast(_) | Goal::AtMost(_) => other,
    };
    let of_medians = compare(own.spread.median, other.spread.median);
    let pairs: Vec<f64> =
        own.rounds.iter().zip(&other.rounds).map(|(own, other)| compare(*own, *other)).collect();
    let met = match target.goal {
        Goal::Ratio(at_least) | Goal::AtLeast(at_least) => of_medians >= at_least,
        Goal::MillisecondsMore(at_most) | Goal::AtMost(at_most) => of_medians <= at_most,
    };
    TargetResult { against: target.against, goal: target.goal, of_medians, pairwise: Spread::of(&pairs), met }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &'static str, rounds: &[f64]) -> SideResult {
        SideResult { side: name, spread: Spread::of(rounds), rounds: rounds.to_vec(), processor_us: None }
    }

    #[test]
    fn a_ratio_below_its_target_is_not_met() {
        let sides = [side("own", &[10.0, 30.0, 20.0]), side("other", &[10.0, 10.0, 10.0])];
        let met = |at_least| judge(&Target::ratio("other", at_least), &sides).met;
        assert!(met(2.0));
        assert!(!met(2.1));
    }

    #[test]
    fn pairs_are_of_the_same_round() {
        let sides = [side("own", &[10.0, 30.0]), side("other", &[10.0, 10.0])];
        let result = judge(&Target::ratio("other", 1.0), &sides);
        assert_eq!(result.pairwise, Spread { median: 2.0, min: 1.0, max: 3.0 });
    }

    #[test]
    fn a_difference_is_met_up_to_its_bound() {
        let sides = [side("own", &[600.0]), side("other", &[100.0])];
        let target = |bound| Target { against: "other", goal: Goal::MillisecondsMore(bound) };
        assert!(judge(&target(500.0), &sides).met);
        assert!(!judge(&target(499.0), &sides).met);
    }

    #[test]
    fn a_goal_by_itself_looks_at_the_side_that_it_names() {
        let sides = [side("own", &[1.0]), side("other", &[2.0])];
        let met = |goal| judge(&Target { against: "other", goal }, &sides).met;
        assert!(met(Goal::AtLeast(2.0)) && !met(Goal::AtLeast(2.1)));
        assert!(met(Goal::AtMost(2.0)) && !met(Goal::AtMost(1.9)));
    }
}
