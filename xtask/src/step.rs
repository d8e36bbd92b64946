//! A named piece of work whose time is printed.

use std::time::{Duration, Instant};

use crate::Outcome;

/// The steps that were done, with their times.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Does one step and stops the caller at the first that fails.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        match outcome {
            Ok(()) => {
                println!("==> {name}: done in {:.1} s", took.as_secs_f64());
                self.done.push((name.to_owned(), took));
                Ok(())
            }
            Err(text) => Err(format!("==> {name}: FAILED after {:.1} s\n{text}", took.as_secs_f64())),
        }
    }

    /// One line a step.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (name, took) in &self.done {
            text += &format!("{:>8.1} s  {name}\n", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        text + &format!("{:>8.1} s  in all", total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_names_itself_and_is_not_in_the_summary() {
        let mut steps = Steps::default();
        steps.step("first", || Ok(())).unwrap();
        let text = steps.step("second", || Err("broken".to_owned())).unwrap_err();
        assert!(text.contains("second: FAILED") && text.ends_with("broken"), "{text}");
        assert!(steps.summary().contains("first") && !steps.summary().contains("second"));
    }
}
