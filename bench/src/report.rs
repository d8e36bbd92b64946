//! What is printed: each figure with its ratio to the floor of the same run.

use serde::Serialize;

use crate::options::{Options, Probe};
use crate::sample::Sample;
use crate::server::Server;

/// The outcome of a probe.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    probe: Probe,
    tasks: usize,
    concurrency: usize,
    repetitions: u64,
    servers: Vec<Server>,
    figures: Vec<Figure>,
}

/// One line.
#[derive(Debug, PartialEq, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    /// The same figure without windlass, if there is one.
    floor: Option<f64>,
    /// The value divided by the floor.
    ratio: Option<f64>,
}

impl Report {
    /// Puts figures and floor side by side.
    pub(crate) fn new(options: &Options, servers: Vec<Server>, ours: &[Sample], floor: &[Sample]) -> Self {
        Self {
            probe: options.probe,
            tasks: options.tasks(),
            concurrency: options.concurrency,
            repetitions: options.repeat,
            servers,
            figures: ours.iter().map(|sample| Figure::new(sample, floor)).collect(),
        }
    }

    /// For machines.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds only names and numbers")
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let about = |server: &Server| format!("{} {}, {}", server.name, server.version, server.mode);
        let servers = match self.servers.as_slice() {
            [] => "no server".to_owned(),
            servers => servers.iter().map(about).collect::<Vec<_>>().join("; "),
        };
        let tasks = if self.probe == Probe::Idle { "no".to_owned() } else { self.tasks.to_string() };
        let mut text = format!("{tasks} tasks, median of {}; {servers}\n", self.repetitions);
        text += &format!("{:<30}{:>14}  {:<10}{:>14}{:>9}", "", "value", "", "floor", "ratio");
        for figure in &self.figures {
            let Figure { name, unit, value, floor, ratio } = figure;
            text += &format!("\n{name:<30}{:>14}  {unit:<10}", number(*value));
            text += &format!("{:>14}", floor.map_or("-".to_owned(), number));
            text += &format!("{:>9}", ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
        }
        text
    }
}

impl Figure {
    fn new(sample: &Sample, floor: &[Sample]) -> Self {
        let floor = floor.iter().find(|other| other.name == sample.name).map(|other| other.value);
        let ratio = floor.filter(|floor| *floor > 0.0).map(|floor| sample.value / floor);
        Self { name: sample.name, unit: sample.unit, value: sample.value, floor, ratio }
    }
}

/// Few digits for small numbers, none for large ones.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_compared_with_the_floor_of_its_name() {
        let floor = [Sample::new("a", "s", 4.0), Sample::new("zero", "s", 0.0)];
        let ratio = |name| Figure::new(&Sample::new(name, "s", 3.0), &floor).ratio;
        assert_eq!((ratio("a"), ratio("b"), ratio("zero")), (Some(0.75), None, None));
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!((number(123_456.7), number(0.12345)), ("123457".to_owned(), "0.123".to_owned()));
    }
}
