//! Measured values and their statistics.

use std::time::Duration;

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// What was measured; the same name in the floor is what it is compared with.
    pub(crate) name: &'static str,
    /// What it is counted in.
    pub(crate) unit: &'static str,
    /// How much it was.
    pub(crate) value: f64,
}

impl Sample {
    /// A value.
    pub(crate) fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value }
    }

    /// So many tasks in that time.
    pub(crate) fn rate(name: &'static str, tasks: usize, took: Duration) -> Self {
        Self::new(name, "tasks/s", tasks as f64 / took.as_secs_f64())
    }

    /// The middle and the tail of the times from sending a task to holding its result.
    pub(crate) fn latencies(mut times: Vec<Duration>) -> Vec<Self> {
        times.sort();
        let at = |share| percentile(&times, share).as_secs_f64() * 1_000.0;
        vec![Self::new("latency p50", "ms", at(0.5)), Self::new("latency p99", "ms", at(0.99))]
    }
}

/// The median of each figure over all repetitions, in the order of the first one.
pub(crate) fn medians(repetitions: &[Vec<Sample>]) -> Vec<Sample> {
    let first = repetitions.first().map_or(&[][..], Vec::as_slice);
    let values = |name| repetitions.iter().flatten().filter(move |other| other.name == name).map(|other| other.value);
    first.iter().map(|sample| Sample { value: median(values(sample.name).collect()), ..sample.clone() }).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The time within which `share` of all lie; `sorted` is sorted.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_own_median() {
        let run = |a: f64, b: f64| vec![Sample::new("a", "s", a), Sample::new("b", "s", b)];
        assert_eq!(medians(&[run(3.0, 30.0), run(1.0, 10.0), run(2.0, 40.0)]), run(2.0, 30.0));
        assert_eq!(median(vec![1.0, 4.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_middle_and_the_tail_are_found() {
        let times = (0..=100).rev().map(Duration::from_millis).collect();
        let values: Vec<f64> = Sample::latencies(times).iter().map(|sample| sample.value).collect();
        assert_eq!(values, [50.0, 99.0]);
    }
}
